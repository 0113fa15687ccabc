//! TLS for outgoing connections.

/// Makes `ring` the process's cryptography for TLS clients. Call before building one; calling it again is fine.
pub fn install_provider() {
    // `Err` only means that it was installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
