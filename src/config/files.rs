//! `[files]`: where uploads are kept and what may be uploaded.

use std::time::Duration;

use serde::Deserialize;

use super::check::{Check, units};
use crate::base::secret::Secret;

/// The file store.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// `file://PATH` or `s3://bucket/prefix`; never empty once loaded.
    pub url: String,
    /// S3: address of the service; empty = Amazon's.
    pub s3_endpoint: String,
    /// S3: region.
    pub s3_region: String,
    /// S3: access key.
    pub s3_access_key: String,
    /// S3: secret key.
    pub s3_secret_key: Secret,
    /// Bytes of one file.
    pub max_bytes: u64,
    /// Media types that may be uploaded; ask [`Files::allows`].
    pub allowed_types: Vec<String>,
    /// How long a signed address works.
    #[serde(deserialize_with = "units::seconds")]
    pub url_ttl_seconds: Duration,
    /// Pixels of an image that a thumbnail is made of.
    pub thumbnail_pixels: u64,
    /// Edge of a thumbnail in pixels.
    pub thumbnail_edge: u32,
    /// For making one.
    #[serde(deserialize_with = "units::seconds")]
    pub thumbnail_seconds: Duration,
}

impl Files {
    /// True when a file of that media type (without parameters) may be uploaded.
    pub fn allows(&self, media_type: &str) -> bool {
        let media_type = media_type.to_ascii_lowercase();
        self.allowed_types.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(start) => media_type.starts_with(start),
            None => *allowed == media_type,
        })
    }

    pub(super) fn check(&self, check: &mut Check) {
        let known = self.url.starts_with("file://") || self.url.starts_with("s3://");
        check.ensure("files.url", known, || "must begin with file:// or s3://".to_owned());
        check.range("files.max_bytes", self.max_bytes, 1_024..=1_099_511_627_776);
        check.seconds("files.url_ttl_seconds", self.url_ttl_seconds, 10..=604_800);
        check.range("files.thumbnail_pixels", self.thumbnail_pixels, 10_000..=1_000_000_000);
        check.range("files.thumbnail_edge", self.thumbnail_edge, 16..=4_096);
        check.seconds("files.thumbnail_seconds", self.thumbnail_seconds, 1..=60);
    }
}
