//! A server by HTTP on tokio and hyper: says a page, sends back what was posted in capital letters, and streams a megabyte.
#![forbid(unsafe_code)]

use std::convert::Infallible;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

type Body = BoxBody<Bytes, Infallible>;

fn text(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

async fn answer(request: Request<Incoming>) -> hyper::Result<Response<Body>> {
    let body = match (request.method(), request.uri().path()) {
        (&Method::POST, _) => {
            let said = request.into_body().collect().await?.to_bytes();
            text(String::from_utf8_lossy(&said).to_uppercase())
        }
        (_, "/page") => text("a page\n"),
        (_, "/stream") => {
            let parts = std::iter::repeat_n(Bytes::from("x".repeat(16384)), 64);
            StreamBody::new(futures_util::stream::iter(parts.map(|part| Ok(Frame::data(part))))).boxed()
        }
        _ => {
            let mut missing = Response::new(text(""));
            *missing.status_mut() = StatusCode::NOT_FOUND;
            return Ok(missing);
        }
    };
    Ok(Response::new(body))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind("[::]:80").await?;
    println!("ready");
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            if let Err(error) = connection.await {
                eprintln!("{error}");
            }
        });
    }
}
