# Shortcuts; each is one command that also works without `just`.

# Run the server with a demo organisation.
demo:
    cargo run --release -- serve --demo

# Fast tests: SQLite only.
test *filter:
    cargo test {{filter}}

# Everything that CI checks.
check:
    scripts/test

# Format and lint.
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- --deny warnings

# Benchmarks (figures: docs/PERFORMANCE.md).
bench *name:
    cargo bench {{name}}

# Open the API documentation of the code.
doc:
    cargo doc --workspace --no-deps --open
