//! Tells the sidecar whose it is, through its metadata API, as the stock command line does (spec resources-cli.md 3.4.4).

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::app::App;
use super::flags::Launch;
use crate::environment::Environment;

const PATIENCE: Duration = Duration::from_secs(5);

/// Keys and values for an app, or for none.
pub(super) fn entries(app: Option<&App>) -> Vec<(&'static str, String)> {
    let mut entries = vec![("cliPID", std::process::id().to_string())];
    if let Some(app) = app {
        entries.push(("appPID", app.process_id().to_string()));
        entries.push(("appCommand", app.command().to_owned()));
    }
    entries
}

/// Set one key.
///
/// # Errors
/// Why the sidecar did not take it.
pub(super) async fn put(
    launch: &Launch,
    environment: &Environment,
    key: &str,
    value: &str,
) -> Result<(), String> {
    let request = request(environment, key, value).map_err(|error| error.to_string())?;
    let answer = tokio::time::timeout(PATIENCE, send(launch, request))
        .await
        .map_err(|_| "no answer".to_owned())?
        .map_err(|error| error.to_string())?;
    if answer.status().is_success() {
        Ok(())
    } else {
        Err(answer.status().to_string())
    }
}

fn request(
    environment: &Environment,
    key: &str,
    value: &str,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut request = Request::put(format!("/v1.0/metadata/{key}"))
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "text/plain");
    if let Some(token) = environment.non_empty("DAPR_API_TOKEN") {
        request = request.header("dapr-api-token", token);
    }
    request.body(Full::new(Bytes::from(value.to_owned())))
}

async fn send(
    launch: &Launch,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Response<Incoming>> {
    if let Some(dir) = &launch.socket_dir {
        let path = format!("{dir}/dapr-{}-http.socket", launch.app_id);
        exchange(UnixStream::connect(path).await?, request).await
    } else {
        let address = ("127.0.0.1", launch.ports.http);
        exchange(TcpStream::connect(address).await?, request).await
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    tokio::select! {
        biased;
        answer = &mut answer => Ok(answer?),
        end = connection => {
            // The answer may have been read before the sidecar closed.
            end?;
            Ok(answer.await?)
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_key_is_put_with_the_token_if_there_is_one() {
        let (near, mut far) = tokio::io::duplex(4096);
        let environment = [("DAPR_API_TOKEN".to_owned(), "secret".to_owned())]
            .into_iter()
            .collect();
        let request = request(&environment, "appCommand", "python3 app.py").unwrap();
        let sidecar = async {
            let mut seen = Vec::new();
            while !seen.ends_with(b"python3 app.py") {
                far.read_buf(&mut seen).await.unwrap();
            }
            far.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                .await
                .unwrap();
            String::from_utf8(seen).unwrap()
        };
        let (answer, seen) = tokio::join!(exchange(near, request), sidecar);
        assert_eq!(answer.unwrap().status(), 204);
        assert!(
            seen.starts_with("PUT /v1.0/metadata/appCommand HTTP/1.1\r\n"),
            "{seen}"
        );
        assert!(seen.contains("dapr-api-token: secret\r\n"), "{seen}");
    }
}
