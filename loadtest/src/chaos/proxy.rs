//! A door in front of the database that can be slammed: all connections through it break at once, wherever they are (in
//! the middle of a statement, between a commit and its answer), and none comes in while it is shut.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};

/// PostgreSQL's port.
const PORT: u16 = 5432;

/// Where the database really is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Upstream {
    Tcp(String),
    Unix(PathBuf),
}

/// See the module. It stands until it is dropped.
pub struct Proxy {
    /// The database's address through the door.
    pub url: String,
    is_shut: watch::Sender<bool>,
}

impl Proxy {
    /// Opens a door to the database at this address.
    pub async fn open(url: &str) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let (upstream, url) =
            redirected(url, port).ok_or("a database is written as postgres://user@host/name")?;
        let (is_shut, shut) = watch::channel(false);
        tokio::spawn(serve(listener, upstream, shut));
        Ok(Self { url, is_shut })
    }

    /// Breaks all connections; nobody comes in until it is opened again.
    pub fn shut(&self) {
        self.is_shut.send_replace(true);
    }

    /// Lets everybody in again.
    pub fn reopen(&self) {
        self.is_shut.send_replace(false);
    }
}

/// Where the address leads to, and the same address by way of our port.
fn redirected(url: &str, port: u16) -> Option<(Upstream, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/')?;
    let (user, place) = authority.rsplit_once('@')?;
    let (host, its_port) = place.rsplit_once(':').unwrap_or((place, ""));
    let (mut host, mut its_port) = (host, its_port.parse().unwrap_or(PORT));
    let mut kept = String::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("host", value)) => host = value,
            Some(("port", value)) => its_port = value.parse().ok()?,
            _ => {
                kept.push(if kept.is_empty() { '?' } else { '&' });
                kept.push_str(pair);
            }
        }
    }
    let upstream = if host.starts_with('/') {
        Upstream::Unix(Path::new(host).join(format!(".s.PGSQL.{its_port}")))
    } else {
        Upstream::Tcp(format!("{host}:{its_port}"))
    };
    Some((upstream, format!("{scheme}://{user}@127.0.0.1:{port}/{database}{kept}")))
}

async fn serve(listener: TcpListener, upstream: Upstream, mut shut: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            client = listener.accept() => {
                let Ok((client, _)) = client else { continue };
                if !*shut.borrow() {
                    tokio::spawn(pass(client, upstream.clone(), shut.clone()));
                }
            }
            // The proxy is gone.
            changed = shut.changed() => if changed.is_err() { return },
        }
    }
}

async fn pass(client: TcpStream, upstream: Upstream, mut shut: watch::Receiver<bool>) {
    tokio::select! {
        _ = connect(client, upstream) => {}
        // Whatever is under way ends here: both sockets close.
        _ = shut.wait_for(|shut| *shut) => {}
    }
}

async fn connect(client: TcpStream, upstream: Upstream) -> io::Result<()> {
    client.set_nodelay(true)?;
    match upstream {
        Upstream::Tcp(address) => {
            let database = TcpStream::connect(address).await?;
            database.set_nodelay(true)?;
            join(client, database).await
        }
        Upstream::Unix(path) => join(client, UnixStream::connect(path).await?).await,
    }
}

async fn join(mut client: TcpStream, mut database: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    copy_bidirectional(&mut client, &mut database).await.map(drop)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn only_the_place_of_an_address_changes() {
        let tcp = |place: &str| Upstream::Tcp(place.to_owned());
        for (given, upstream, url) in [
            ("postgres://u:p@db:6000/x", tcp("db:6000"), "postgres://u:p@127.0.0.1:9/x"),
            (
                "postgres://u@db/x?sslmode=disable",
                tcp("db:5432"),
                "postgres://u@127.0.0.1:9/x?sslmode=disable",
            ),
            (
                "postgres://u@localhost/x?a=1&host=/tmp/pg&b=2",
                Upstream::Unix("/tmp/pg/.s.PGSQL.5432".into()),
                "postgres://u@127.0.0.1:9/x?a=1&b=2",
            ),
        ] {
            assert_eq!(redirected(given, 9), Some((upstream, url.to_owned())), "{given}");
        }
        assert_eq!(redirected("sqlite://x", 9), None);
    }

    #[tokio::test]
    async fn a_slammed_door_breaks_what_is_under_way_and_opens_again() {
        let database = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = database.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = database.accept().await {
                tokio::spawn(async move {
                    let mut byte = [0];
                    while client.read_exact(&mut byte).await.is_ok() {
                        client.write_all(&byte).await.unwrap();
                    }
                });
            }
        });
        let proxy = Proxy::open(&format!("postgres://u@127.0.0.1:{port}/x")).await.unwrap();
        let door = proxy.url.strip_prefix("postgres://u@").unwrap().strip_suffix("/x").unwrap();
        let mut byte = [7];
        let mut client = TcpStream::connect(door).await.unwrap();
        client.write_all(&byte).await.unwrap();
        client.read_exact(&mut byte).await.unwrap();
        proxy.shut();
        assert!(client.read_exact(&mut byte).await.is_err());
        assert!(TcpStream::connect(door).await.unwrap().read_exact(&mut byte).await.is_err());
        proxy.reopen();
        let mut client = TcpStream::connect(door).await.unwrap();
        client.write_all(&[9]).await.unwrap();
        client.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, [9]);
    }
}
