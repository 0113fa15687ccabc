//! The file store over a folder: streaming, limits, ranges, nothing left behind.

use std::path::PathBuf;

use std::time::Instant;

use futures_util::stream;

use super::*;

fn store(folder: &tempfile::TempDir) -> FileStore {
    open(&format!("file://{}", folder.path().display())).unwrap()
}

fn open(url: &str) -> Result<FileStore, FileError> {
    let config = config::Files { url: url.to_owned(), ..config::Config::with("").unwrap().files };
    FileStore::open(&config, Handle::current())
}

fn chunks(chunks: Vec<Result<Vec<u8>, Error>>) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    stream::iter(chunks.into_iter().map(|chunk| chunk.map(Bytes::from)))
}

fn files_in(folder: &FsPath) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_in(&path)) } else { found.push(path) }
    }
    found
}

async fn whole(content: BoxStream<'static, io::Result<Bytes>>) -> Vec<u8> {
    content.map(|chunk| chunk.unwrap().to_vec()).concat().await
}

#[tokio::test]
async fn any_size_comes_back_as_it_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    for size in [0, 1, LOCAL_PART_BYTES - 1, LOCAL_PART_BYTES, LOCAL_PART_BYTES + 1, 3 * LOCAL_PART_BYTES] {
        let bytes: Vec<u8> = (0..size).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let pieces = bytes.chunks(100_003).map(|piece| Ok(piece.to_vec())).collect();
        let stored = store.put("1/file", chunks(pieces), u64::MAX).await.unwrap();
        assert_eq!(stored.size, size as u64);
        assert_eq!(stored.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
        assert_eq!(stored.head, bytes[..size.min(HEAD_BYTES)]);
        assert_eq!(whole(store.get("1/file", None).await.unwrap()).await, bytes, "{size}");
    }
}

#[tokio::test]
async fn a_failed_upload_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let part = vec![7; LOCAL_PART_BYTES];
    let broken =
        chunks(vec![Ok(part.clone()), Ok(part.clone()), Err(Error::invalid("body: ended too early"))]);
    assert!(matches!(store.put("1/broken", broken, u64::MAX).await, Err(FileError::Incomplete(_))));
    let large = chunks(vec![Ok(part.clone()), Ok(part.clone()), Ok(part.clone())]);
    assert!(matches!(
        store.put("1/large", large, 700_000).await,
        Err(FileError::TooLarge { limit: 700_000 })
    ));
    let endless = chunks(vec![Ok(part.clone()), Ok(part)]).chain(stream::pending());
    let abandoned =
        tokio::time::timeout(std::time::Duration::from_millis(100), store.put("1/x", endless, u64::MAX));
    assert!(abandoned.await.is_err());
    let deadline = Instant::now() + std::time::Duration::from_secs(5);
    while !files_in(folder.path()).is_empty() {
        assert!(Instant::now() < deadline, "left behind: {:?}", files_in(folder.path()));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn parts_of_a_file_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.put("f", chunks(vec![Ok(b"0123456789".to_vec())]), 10).await.unwrap();
    for (range, expected) in [(2..5, "234"), (7..10, "789"), (0..10, "0123456789")] {
        assert_eq!(whole(store.get("f", Some(range)).await.unwrap()).await, expected.as_bytes());
    }
    assert_eq!(store.size("f").await.unwrap(), 10);
}

#[tokio::test]
async fn what_is_not_kept_goes() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    for name in ["kept", "dropped"] {
        store.put(name, chunks(vec![Ok(vec![1])]), 10).await.unwrap();
        let mut undecided = Undecided::new(&store);
        undecided.add(name);
        if name == "kept" {
            assert_eq!(undecided.keep(), ["kept"]);
        }
    }
    let deadline = Instant::now() + std::time::Duration::from_secs(5);
    while files_in(folder.path()).len() > 1 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(store.size("kept").await.is_ok());
}

#[tokio::test]
async fn deleting_twice_is_fine_and_final() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.put("1/f", chunks(vec![Ok(vec![1])]), 10).await.unwrap();
    store.delete("1/f").await.unwrap();
    store.delete("1/f").await.unwrap();
    assert!(matches!(store.get("1/f", None).await, Err(FileError::NotFound)));
    assert!(matches!(store.read("1/f", 10).await, Err(FileError::NotFound)));
}

#[tokio::test]
async fn an_unusable_address_is_said_at_once() {
    for url in ["", "file://", "ftp://somewhere", "http://bucket"] {
        assert!(matches!(open(url), Err(FileError::Configuration(_))));
    }
    assert!(open("s3://bucket/some/prefix").is_ok());
}
