//! A registry of a few lines, on a port of the loopback interface, that fails as it is told.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::TestImage;
use crate::store::Digest;

/// `user:secret` in base64: the only user of registries that want a login.
const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

/// The token that the token service gives out.
const TOKEN: &str = "Bearer the-token";

/// How the registry finds out who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Login {
    /// It does not.
    None,
    /// User and password with each request.
    Basic,
    /// A token, which the token service gives to everyone.
    AnonymousToken,
    /// A token, which the token service gives to the user.
    Token,
    /// A token, which the token service gives for the identity token `identity`.
    IdentityToken,
}

/// What goes wrong when a path is read.
#[derive(Debug, Clone)]
pub(in crate::source) enum Fault {
    /// The connection is cut after so many bytes of the answer's body, so many times.
    Cut { after: usize, times: usize },
    /// So many requests are answered with this status.
    Status { code: u16, times: usize },
    /// Ranges are ignored.
    NoRanges,
    /// A part is sent as if it were the one from the beginning on.
    WrongPart,
    /// These bytes are sent instead.
    Content(Vec<u8>),
}

#[derive(Default)]
struct State {
    files: HashMap<String, (String, Vec<u8>)>,
    tags: HashMap<String, Vec<String>>,
    faults: HashMap<String, Vec<Fault>>,
    requests: Vec<String>,
}

/// The registry. It serves until the test's process ends.
pub(in crate::source) struct TestRegistry {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl TestRegistry {
    pub fn start(login: Login) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), shared.clone());
                // A client that hangs up is part of the tests.
                thread::spawn(move || serve(&stream, address, &state, login));
            }
        });
        Self { address, state }
    }

    /// The text of a reference into this registry.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// Serves an image under a tag.
    pub fn push(&self, repository: &str, tag: &str, image: &TestImage) {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        self.push_document(repository, &image.digest().to_string(), media_type, &image.manifest);
        self.push_document(repository, tag, media_type, &image.manifest);
        let mut state = self.state.lock().unwrap();
        for blob in image.blobs() {
            let path = blob_path(repository, &Digest::of(blob));
            state.files.insert(path, ("application/octet-stream".to_owned(), blob.clone()));
        }
        state.tags.entry(repository.to_owned()).or_default().push(tag.to_owned());
    }

    /// Serves a manifest or index under a tag or digest.
    pub fn push_document(&self, repository: &str, name: &str, media_type: &str, content: &[u8]) {
        let path = format!("/v2/{repository}/manifests/{name}");
        self.state.lock().unwrap().files.insert(path, (media_type.to_owned(), content.to_owned()));
    }

    /// Lets a blob fail.
    pub fn fault(&self, repository: &str, digest: &Digest, fault: Fault) {
        self.fault_at(&blob_path(repository, digest), fault);
    }

    /// Lets any path fail.
    pub fn fault_at(&self, path: &str, fault: Fault) {
        self.state.lock().unwrap().faults.entry(path.to_owned()).or_default().push(fault);
    }

    /// Lets a path be well again.
    pub fn unfault(&self, path: &str) {
        self.state.lock().unwrap().faults.remove(path);
    }

    /// The requests so far: method, path, and the range if there was one.
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }
}

fn blob_path(repository: &str, digest: &Digest) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

struct Request {
    method: String,
    path: String,
    /// Header names in lower case.
    headers: HashMap<String, String>,
    body: String,
}

struct Response {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Where the connection is cut.
    cut: Option<usize>,
}

impl Response {
    fn status(status: u16, body: &str) -> Self {
        Self { status, headers: vec![], body: body.as_bytes().to_vec(), cut: None }
    }
}

fn serve(stream: &TcpStream, address: SocketAddr, state: &Mutex<State>, login: Login) -> io::Result<()> {
    let mut lines = BufReader::new(stream);
    loop {
        let mut first = Vec::new();
        if lines.read_until(b'\n', &mut first)? == 0 {
            return Ok(());
        }
        let mut out = stream;
        let first = String::from_utf8_lossy(&first).into_owned();
        let mut words = first.split_whitespace().map(ToOwned::to_owned);
        let (Some(method), Some(path), Some("HTTP/1.1")) =
            (words.next(), words.next(), words.next().as_deref())
        else {
            return out.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        };
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            lines.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        lines.read_exact(&mut body)?;
        let request = Request { method, path, headers, body: String::from_utf8(body).unwrap() };
        let response = answer(&request, address, &mut state.lock().unwrap(), login);
        let mut head =
            format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n", response.status, response.body.len());
        for (name, value) in response.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        out.write_all(format!("{head}\r\n").as_bytes())?;
        if request.method != "HEAD" {
            out.write_all(&response.body[..response.cut.unwrap_or(response.body.len())])?;
        }
        if response.cut.is_some() {
            return stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn answer(request: &Request, address: SocketAddr, state: &mut State, login: Login) -> Response {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let range = request.headers.get("range");
    state.requests.push(format!(
        "{} {path}{}",
        request.method,
        range.map_or_else(String::new, |range| format!(" {range}"))
    ));
    let authorization = request.headers.get("authorization").map(String::as_str);

    if path == "/token" {
        let identity = "grant_type=refresh_token&client_id=isopod&scope=repository%3Aapp%3Apull&service=test&refresh_token=identity";
        let known = match login {
            Login::AnonymousToken => true,
            Login::IdentityToken => request.method == "POST" && request.body == identity,
            _ => authorization == Some(BASIC),
        };
        assert!(
            login == Login::IdentityToken || query.contains("service=test") && query.contains("pull"),
            "{query}"
        );
        if let Some([Fault::Content(answer)]) = state.faults.get(path).map(Vec::as_slice) {
            return Response::status(200, str::from_utf8(answer).unwrap());
        }
        if known {
            return Response::status(200, r#"{"token":"the-token"}"#);
        }
        return Response::status(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}"#);
    }
    let (wanted, challenge) = match login {
        Login::None => (None, String::new()),
        Login::Basic => (Some(BASIC), r#"Basic realm="test""#.to_owned()),
        Login::Token | Login::AnonymousToken | Login::IdentityToken => {
            (Some(TOKEN), format!(r#"Bearer realm="http://{address}/token",service="test""#))
        }
    };
    if wanted.is_some() && authorization != wanted {
        let mut response = Response::status(401, "");
        response.headers.push(("WWW-Authenticate", challenge));
        return response;
    }
    if path == "/v2/" {
        return Response::status(200, "{}");
    }
    if let Some(repository) = path.strip_prefix("/v2/").and_then(|path| path.strip_suffix("/tags/list")) {
        return match state.tags.get(repository) {
            Some(tags) => {
                Response::status(200, &serde_json::json!({ "name": repository, "tags": tags }).to_string())
            }
            None => Response::status(404, r#"{"errors":[{"code":"NAME_UNKNOWN","message":"unknown"}]}"#),
        };
    }
    content(path, range, state)
}

fn content(path: &str, range: Option<&String>, state: &mut State) -> Response {
    let Some((media_type, mut body)) = state.files.get(path).cloned() else {
        return Response::status(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#);
    };
    let digest = Digest::of(&body).to_string();
    let (mut ranges, mut shift, mut cut) = (true, 0, None);
    for fault in state.faults.get_mut(path).into_iter().flatten() {
        match fault {
            Fault::Status { code, times } if *times > 0 => {
                *times -= 1;
                return Response::status(*code, "the registry is unwell");
            }
            Fault::Cut { after, times } if *times > 0 => {
                *times -= 1;
                cut = Some(*after);
            }
            Fault::Status { .. } | Fault::Cut { .. } => {}
            Fault::NoRanges => ranges = false,
            Fault::WrongPart => shift = 1,
            Fault::Content(content) => body.clone_from(content),
        }
    }
    let mut headers = vec![("Content-Type", media_type), ("Docker-Content-Digest", digest)];
    let start =
        range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    match start.filter(|_| ranges) {
        Some(start) if start >= body.len() => Response::status(416, ""),
        Some(start) => {
            headers.push((
                "Content-Range",
                format!("bytes {}-{}/{}", start + shift, body.len() - 1, body.len()),
            ));
            let body = body.split_off(start);
            let cut = cut.filter(|cut| *cut < body.len());
            Response { status: 206, headers, body, cut }
        }
        None => {
            let cut = cut.filter(|cut| *cut < body.len());
            Response { status: 200, headers, body, cut }
        }
    }
}
