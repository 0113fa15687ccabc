//! Small pictures of images, made off the async threads.
//!
//! Decoding foreign images is the riskiest thing that is done to an upload, so it is bounded three times: pixels and
//! memory by the decoder's limits, time by a reader that ends when the time is over, and parallel work by one permit
//! per core that the blocking thread itself holds (a caller that stops waiting frees nothing).

use std::{
    io::{self, BufRead, Cursor, Read, Seek, SeekFrom},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use image::{
    DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits, codecs::jpeg::JpegEncoder,
    metadata::Orientation,
};
use tokio::{runtime::Handle, sync::Semaphore};

use crate::config;

/// Bounds of the work on one image.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest edge of the thumbnail in pixels.
    pub edge: u32,
    /// Largest image that is decoded, in pixels (width x height).
    pub pixels: u64,
    /// Time for one image.
    pub time: Duration,
    /// Largest file that is read for it, in bytes.
    pub file_bytes: u64,
}

impl From<&config::Files> for Bounds {
    fn from(config: &config::Files) -> Self {
        Self {
            edge: config.thumbnail_edge,
            pixels: config.thumbnail_pixels,
            time: config.thumbnail_seconds,
            file_bytes: LARGEST_FILE,
        }
    }
}

/// No image of allowed size needs more.
const LARGEST_FILE: u64 = 32 * 1024 * 1024;

/// The endings that a thumbnail's path may have.
pub const ENDINGS: &[&str] = &["jpg", "png"];

/// Where the thumbnail of a file lies.
pub fn path_of(file: &str, ending: &str) -> String {
    format!("{file}.thumbnail.{ending}")
}

/// A finished thumbnail.
#[derive(Clone, Debug)]
pub struct Thumbnail {
    /// Encoded picture.
    pub bytes: Bytes,
    /// `jpg` or `png`: the ending of its path.
    pub extension: &'static str,
}

/// Why there is no thumbnail. None of these is a reason to refuse the upload.
#[derive(Debug, thiserror::Error)]
pub enum ThumbnailError {
    /// Not an image that can be read within the bounds.
    #[error(transparent)]
    Image(#[from] image::ImageError),
    /// More pixels than allowed.
    #[error("the image has {0} pixels")]
    TooManyPixels(u64),
    /// The time was over, or the server stops.
    #[error("the image took too long")]
    Timeout,
}

/// The type of a thumbnail by the ending of its path.
pub fn mime_of(path: &str) -> &'static str {
    if path.rsplit('.').next() == Some("png") { "image/png" } else { "image/jpeg" }
}

/// True for types that thumbnails are made of.
pub fn is_supported(mime: &str) -> bool {
    format_of(mime).is_some()
}

fn format_of(mime: &str) -> Option<ImageFormat> {
    match mime {
        "image/png" => Some(ImageFormat::Png),
        "image/jpeg" => Some(ImageFormat::Jpeg),
        "image/gif" => Some(ImageFormat::Gif),
        "image/webp" => Some(ImageFormat::WebP),
        _ => None,
    }
}

/// Makes thumbnails, one per core at a time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Thumbnailer {
    permits: Arc<Semaphore>,
    bounds: Bounds,
    runtime: Handle,
}

impl Thumbnailer {
    /// Works on the blocking threads of `runtime`.
    pub fn new(bounds: Bounds, runtime: Handle) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { permits: Arc::new(Semaphore::new(cores)), bounds, runtime }
    }

    /// The bounds that it keeps.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// A thumbnail of the image that `read` fetches; fetched only when it is this image's turn, so that waiting costs
    /// no memory. `Ok(None)` when `mime` is no image type that can be read.
    pub async fn make<F>(&self, mime: &str, read: F) -> Result<Option<Thumbnail>, ThumbnailError>
    where
        F: Future<Output = Option<Bytes>> + Send,
    {
        let Some(format) = format_of(mime) else { return Ok(None) };
        let bounds = self.bounds;
        let work = async {
            let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
            let content = read.await?;
            self.runtime
                .spawn_blocking(move || {
                    let thumbnail = shrink(content, format, bounds);
                    drop(permit);
                    thumbnail
                })
                .await
                .ok()
        };
        match tokio::time::timeout(bounds.time, work).await {
            Ok(Some(result)) => result.map(Some),
            Ok(None) => Ok(None),
            Err(_) => Err(ThumbnailError::Timeout),
        }
    }
}

fn shrink(content: Bytes, format: ImageFormat, bounds: Bounds) -> Result<Thumbnail, ThumbnailError> {
    let source = Timed { inner: Cursor::new(content), until: Instant::now() + bounds.time };
    let mut reader = ImageReader::with_format(source, format);
    let mut limits = Limits::default();
    // Eight bytes per pixel: 16-bit RGBA, the widest that the formats have.
    limits.max_alloc = Some(bounds.pixels.saturating_mul(8));
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > bounds.pixels {
        return Err(ThumbnailError::TooManyPixels(pixels));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder)?;
    let mut small = if width > bounds.edge || height > bounds.edge {
        image.thumbnail(bounds.edge, bounds.edge)
    } else {
        image
    };
    small.apply_orientation(orientation);
    let mut bytes = Vec::new();
    let extension = if small.color().has_alpha() {
        small.into_rgba8().write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
        "png"
    } else {
        small.into_rgb8().write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, 80))?;
        "jpg"
    };
    Ok(Thumbnail { bytes: bytes.into(), extension })
}

/// Fails reads once the time is over: the only way to stop a decoder that runs on a blocking thread.
struct Timed<R> {
    inner: R,
    until: Instant,
}

impl<R> Timed<R> {
    fn check(&self) -> io::Result<()> {
        if Instant::now() < self.until { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }
}

impl<R: Read> Read for Timed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.inner.read(buffer)
    }
}
impl<R: BufRead> BufRead for Timed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check()?;
        self.inner.fill_buf()
    }
    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }
}
impl<R: Seek> Seek for Timed<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.check()?;
        self.inner.seek(position)
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    const BOUNDS: Bounds =
        Bounds { edge: 320, pixels: 1_000_000, time: Duration::from_secs(10), file_bytes: LARGEST_FILE };

    fn png(width: u32, height: u32) -> Bytes {
        let mut bytes = Vec::new();
        RgbImage::from_pixel(width, height, Rgb([200, 10, 10]))
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .unwrap();
        bytes.into()
    }

    #[tokio::test]
    async fn an_image_becomes_small() {
        let thumbnailer = Thumbnailer::new(BOUNDS, Handle::current());
        let made = thumbnailer.make("image/png", async { Some(png(1200, 600)) }).await.unwrap().unwrap();
        let small = image::load_from_memory(&made.bytes).unwrap();
        assert_eq!((small.width(), small.height(), made.extension), (320, 160, "jpg"));
        assert!(thumbnailer.make("image/svg+xml", async { Some(Bytes::new()) }).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_too_large_or_broken_is_refused() {
        let bounds = Bounds { pixels: 10_000, ..BOUNDS };
        let thumbnailer = Thumbnailer::new(bounds, Handle::current());
        let large = thumbnailer.make("image/png", async { Some(png(200, 200)) }).await;
        assert!(matches!(large, Err(ThumbnailError::TooManyPixels(40_000))));
        let whole = png(50, 50);
        let cut = thumbnailer.make("image/png", async { Some(whole.slice(..whole.len() / 2)) }).await;
        assert!(matches!(cut, Err(ThumbnailError::Image(_))));
        let over = Thumbnailer::new(Bounds { time: Duration::ZERO, ..bounds }, Handle::current());
        assert!(over.make("image/png", async { Some(png(10, 10)) }).await.is_err());
    }
}
