//! Stored files: a folder by default, an S3-compatible bucket when configured.
//!
//! Content is streamed both ways and never held in memory whole. A file exists completely or not at all: an upload
//! that fails, is too large or is abandoned half-way leaves nothing behind, and what [`FileStore::put`] returned is
//! durable. Knows nothing of attachments or rights: `service::attachments` decides who may read what.

pub mod content;
pub mod signed_url;
pub mod thumbnail;

pub use signed_url::UrlSigner;
pub use thumbnail::Thumbnailer;

use std::{io, ops::Range, path::Path as FsPath, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload,
    aws::AmazonS3Builder, local::LocalFileSystem, path::Path, prefix::PrefixStore,
};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;

use crate::{
    base::{master_key::MasterKey, tls},
    config,
    domain::{codes::Code, error::Error},
};

/// How much of a file's beginning is kept to recognise its type.
pub const HEAD_BYTES: usize = 512;

/// Part size of uploads in parts; S3 takes no smaller ones (but the last).
const PART_BYTES: usize = 5 * 1024 * 1024;
/// In a folder, parts can be small.
const LOCAL_PART_BYTES: usize = 512 * 1024;

/// Why a file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The configuration names no usable store.
    #[error("files.url: {0}")]
    Configuration(String),
    /// More bytes than allowed.
    #[error("the file is larger than {limit} bytes")]
    TooLarge {
        /// The limit that was passed.
        limit: u64,
    },
    /// The content could not be received; the error is the sender's to know.
    #[error("the upload broke off: {0}")]
    Incomplete(Error),
    /// No such file.
    #[error("no such file")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(object_store::Error),
}

impl From<object_store::Error> for FileError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            other => Self::Store(other),
        }
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::TooLarge { .. } => Self::new(Code::TooLarge, error.to_string()),
            FileError::Incomplete(error) => error,
            FileError::NotFound => Self::not_found("file"),
            FileError::Configuration(_) | FileError::Store(_) => Self::unavailable(error),
        }
    }
}

/// What an upload left in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Bytes.
    pub size: u64,
    /// Checksum of the content.
    pub sha256: [u8; 32],
    /// The first bytes ([`HEAD_BYTES`] at most), to recognise the type by.
    pub head: Bytes,
}

/// All that deals with files: the store, thumbnails, addresses, and the limits of uploads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Files {
    /// Where they are.
    pub store: FileStore,
    /// Small pictures of images.
    pub thumbnails: Thumbnailer,
    /// Signed addresses.
    pub urls: UrlSigner,
    /// Limits.
    pub config: Arc<config::Files>,
}

impl Files {
    /// Opens the store of the configuration. `public_url` is how clients reach the server (`Http::public_url`).
    pub fn open(
        config: &config::Files,
        master: &MasterKey,
        public_url: &str,
        runtime: &Handle,
    ) -> Result<Self, FileError> {
        Ok(Self {
            store: FileStore::open(config, runtime.clone())?,
            thumbnails: Thumbnailer::new(config.into(), runtime.clone()),
            urls: UrlSigner::new(master, public_url, config.url_ttl_seconds),
            config: Arc::new(config.clone()),
        })
    }
}

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FileStore {
    inner: Arc<dyn ObjectStore>,
    part_bytes: usize,
    runtime: Handle,
    /// Where they lie, if not in a bucket.
    folder: Option<Arc<FsPath>>,
}

impl FileStore {
    /// Opens the store of `files.url`: a folder (made when absent) or a bucket. Background clean-up runs on `runtime`.
    pub fn open(config: &config::Files, runtime: Handle) -> Result<Self, FileError> {
        if let Some(rest) = config.url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            return Self::open_s3(bucket, prefix, config, runtime);
        }
        match config.url.strip_prefix("file://") {
            Some(folder) if !folder.is_empty() => Self::open_folder(FsPath::new(folder), runtime),
            _ => Err(FileError::Configuration("neither file://PATH nor s3://bucket/prefix".to_owned())),
        }
    }

    fn open_folder(folder: &FsPath, runtime: Handle) -> Result<Self, FileError> {
        std::fs::create_dir_all(folder)
            .map_err(|error| FileError::Configuration(format!("{}: {error}", folder.display())))?;
        let local = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true).with_automatic_cleanup(true);
        Ok(Self {
            inner: Arc::new(local),
            part_bytes: LOCAL_PART_BYTES,
            runtime,
            folder: Some(folder.into()),
        })
    }

    fn open_s3(
        bucket: &str,
        prefix: &str,
        config: &config::Files,
        runtime: Handle,
    ) -> Result<Self, FileError> {
        tls::install_provider();
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&config.s3_region)
            .with_allow_http(config.s3_endpoint.starts_with("http://"));
        if !config.s3_endpoint.is_empty() {
            builder = builder.with_endpoint(&config.s3_endpoint);
        }
        builder = if config.s3_access_key.is_empty() {
            builder.with_skip_signature(true)
        } else {
            builder
                .with_access_key_id(&config.s3_access_key)
                .with_secret_access_key(config.s3_secret_key.expose())
        };
        let store = builder.build().map_err(|error| FileError::Configuration(error.to_string()))?;
        let inner: Arc<dyn ObjectStore> = match prefix.trim_matches('/') {
            "" => Arc::new(store),
            prefix => Arc::new(PrefixStore::new(store, prefix)),
        };
        Ok(Self { inner, part_bytes: PART_BYTES, runtime, folder: None })
    }

    /// Writes `content` to `path`, at most `limit` bytes. Small files travel in one request, larger ones in parts, one
    /// part in flight, so that a slow store slows the sender down.
    pub async fn put<S>(&self, path: &str, content: S, limit: u64) -> Result<Stored, FileError>
    where
        S: Stream<Item = Result<Bytes, Error>> + Send,
    {
        let location = Path::from(path);
        let mut content = std::pin::pin!(content);
        let mut tally = Tally::new(limit);
        let mut buffer = BytesMut::new();
        let mut parts: Option<Unfinished> = None;
        while let Some(chunk) = content.next().await {
            let mut chunk = chunk.map_err(FileError::Incomplete)?;
            tally.count(&chunk)?;
            while !chunk.is_empty() {
                let room = self.part_bytes - buffer.len();
                buffer.extend_from_slice(&chunk.split_to(room.min(chunk.len())));
                // A full buffer waits for one more byte: a file of exactly one part needs no multipart upload.
                if buffer.len() == self.part_bytes && !chunk.is_empty() {
                    self.put_part(&location, &mut parts, buffer.split().freeze()).await?;
                }
            }
            if buffer.len() == self.part_bytes && parts.is_some() {
                self.put_part(&location, &mut parts, buffer.split().freeze()).await?;
            }
        }
        let Some(mut upload) = parts else {
            self.inner.put(&location, PutPayload::from_bytes(buffer.freeze())).await?;
            return Ok(tally.finish());
        };
        if !buffer.is_empty() {
            upload.part(buffer.freeze()).await?;
        }
        upload.complete().await?;
        Ok(tally.finish())
    }

    async fn put_part(
        &self,
        location: &Path,
        parts: &mut Option<Unfinished>,
        part: Bytes,
    ) -> Result<(), FileError> {
        let upload = match parts {
            Some(upload) => upload,
            None => parts.insert(Unfinished {
                upload: Some(self.inner.put_multipart(location).await?),
                runtime: self.runtime.clone(),
            }),
        };
        upload.part(part).await
    }

    /// Opens `path`, whole or the bytes of `range`, which must not be empty. The stream fails where the store does.
    pub async fn get(
        &self,
        path: &str,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, FileError> {
        let options = GetOptions::new().with_range(range.map(GetRange::Bounded));
        let result = self.inner.get_opts(&Path::from(path), options).await?;
        Ok(result.into_stream().map(|chunk| chunk.map_err(io::Error::other)).boxed())
    }

    /// Bytes of a file.
    pub async fn size(&self, path: &str) -> Result<u64, FileError> {
        Ok(self.inner.head(&Path::from(path)).await?.size)
    }

    /// Reads a whole file of at most `limit` bytes.
    pub async fn read(&self, path: &str, limit: u64) -> Result<Bytes, FileError> {
        let result = self.inner.get(&Path::from(path)).await?;
        if result.meta.size > limit {
            return Err(FileError::TooLarge { limit });
        }
        Ok(result.bytes().await?)
    }

    /// Removes files in the background; for those that nothing refers to.
    pub fn discard(&self, paths: Vec<String>) {
        if paths.is_empty() {
            return;
        }
        let store = self.clone();
        self.runtime.spawn(async move {
            for path in paths {
                if let Err(error) = store.delete(&path).await {
                    tracing::warn!(%error, file.path = path, "a file that nothing refers to could not be removed");
                }
            }
        });
    }

    /// Removes what an upload to `path` that was cut off may have left: the file, thumbnails of it with any of these
    /// endings, and in a folder the parts that were not joined yet. (Buckets have a rule of their own for those.)
    pub async fn delete_all_of(&self, path: &str, endings: &[&str]) -> Result<(), FileError> {
        self.delete(path).await?;
        for ending in endings {
            self.delete(&thumbnail::path_of(path, ending)).await?;
        }
        let Some(file) = self.folder.as_ref().map(|folder| folder.join(path)) else { return Ok(()) };
        let (Some(parent), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str()))
        else {
            return Ok(());
        };
        let Ok(mut entries) = tokio::fs::read_dir(parent).await else { return Ok(()) };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let part = entry.file_name();
            if part
                .to_str()
                .is_some_and(|part| part.strip_prefix(name).is_some_and(|rest| rest.starts_with('#')))
            {
                let _ = tokio::fs::remove_file(entry.path()).await;
            }
        }
        Ok(())
    }

    /// Removes a file; one that is gone already is fine.
    pub async fn delete(&self, path: &str) -> Result<(), FileError> {
        match self.inner.delete(&Path::from(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Files that were written for something which is not decided yet: they go again when this is dropped before
/// [`Undecided::keep`].
#[derive(Debug)]
pub struct Undecided {
    store: FileStore,
    paths: Vec<String>,
}

impl Undecided {
    /// Nothing yet.
    pub fn new(store: &FileStore) -> Self {
        Self { store: store.clone(), paths: Vec::new() }
    }

    /// `path` belongs to it.
    pub fn add(&mut self, path: &str) {
        self.paths.push(path.to_owned());
    }

    /// The files stay. Gives their paths, for [`FileStore::discard`] should they have to go after all.
    pub fn keep(mut self) -> Vec<String> {
        std::mem::take(&mut self.paths)
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        self.store.discard(std::mem::take(&mut self.paths));
    }
}

/// Counts, hashes and keeps the head of what passes.
struct Tally {
    size: u64,
    limit: u64,
    hash: Sha256,
    head: BytesMut,
}

impl Tally {
    fn new(limit: u64) -> Self {
        Self { size: 0, limit, hash: Sha256::new(), head: BytesMut::new() }
    }

    fn count(&mut self, chunk: &[u8]) -> Result<(), FileError> {
        self.size = self.size.saturating_add(chunk.len() as u64);
        if self.size > self.limit {
            return Err(FileError::TooLarge { limit: self.limit });
        }
        self.hash.update(chunk);
        let wanted = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&chunk[..wanted.min(chunk.len())]);
        Ok(())
    }

    fn finish(self) -> Stored {
        Stored { size: self.size, sha256: self.hash.finalize().into(), head: self.head.freeze() }
    }
}

/// An upload in parts. Dropped before [`Unfinished::complete`] succeeded, it is aborted in the background.
struct Unfinished {
    upload: Option<Box<dyn MultipartUpload>>,
    runtime: Handle,
}

impl Unfinished {
    async fn part(&mut self, part: Bytes) -> Result<(), FileError> {
        let upload = self.upload.as_mut().expect("present until completed");
        Ok(upload.put_part(PutPayload::from_bytes(part)).await?)
    }

    async fn complete(&mut self) -> Result<(), FileError> {
        self.upload.as_mut().expect("present until completed").complete().await?;
        self.upload = None;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(mut upload) = self.upload.take() {
            self.runtime.spawn(async move {
                if let Err(error) = upload.abort().await {
                    tracing::warn!(%error, "an abandoned upload could not be removed");
                }
            });
        }
    }
}

#[cfg(test)]
mod tests;
