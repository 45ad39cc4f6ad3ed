//! An HTTP server for tests that answers as told, well or badly. Plain sockets, so that it can break every rule.
//!
//! Part of the unit tests and of the integration tests alike, each of which uses its own part of it.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// 0 for the first request.
    pub number: usize,
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub at: Instant,
    /// Requests under way when this one came, itself included.
    pub at_once: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What it gets.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Wait so long first.
    pub after: Duration,
    /// Break off after so many bytes of the body, whose whole length was promised.
    pub cut: Option<usize>,
    /// Say nothing at all and hang up.
    pub silent: bool,
}

impl Answer {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("content-type".into(), content_type.into())],
            body: body.into(),
            after: Duration::ZERO,
            cut: None,
            silent: false,
        }
    }

    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, "application/json", body)
    }

    pub fn error(status: u16, message: &str) -> Self {
        Self::new(status, "application/json", format!(r#"{{"error":{{"message":"{message}"}}}}"#))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn after(mut self, wait: Duration) -> Self {
        self.after = wait;
        self
    }

    pub fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    pub fn silent() -> Self {
        Self { silent: true, ..Self::new(200, "", "") }
    }
}

/// Runs until it is dropped.
pub struct Server {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers every request by `answer`, on a thread for each connection.
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer);
        let running = Arc::new(AtomicUsize::new(0));
        let (ended, kept) = (over.clone(), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (answer, kept, running) = (answer.clone(), kept.clone(), running.clone());
                // A client that goes away is none of the server's business.
                std::thread::spawn(move || serve(stream, answer.as_ref(), &kept, &running));
            }
        });
        Self { address, over, seen }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.seen.lock().expect("no panic while it was held").clone()
    }

    /// How much was asked so far.
    pub fn count(&self) -> usize {
        self.seen.lock().expect("no panic while it was held").len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    stream: TcpStream,
    answer: &(dyn Fn(&Request) -> Answer + Send + Sync),
    seen: &Mutex<Vec<Request>>,
    running: &AtomicUsize,
) -> Option<()> {
    let _ = stream.set_nodelay(true);
    let mut out = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let mut words = line.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            lines.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let find =
            |name: &str| headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
        let mut body = Vec::new();
        if let Some(length) = find("content-length") {
            body = vec![0; length.parse().ok()?];
            lines.read_exact(&mut body).ok()?;
        } else if find("transfer-encoding").is_some() {
            loop {
                let mut size = String::new();
                lines.read_line(&mut size).ok()?;
                let size = usize::from_str_radix(size.trim(), 16).ok()?;
                let mut chunk = vec![0; size + 2];
                lines.read_exact(&mut chunk).ok()?;
                if size == 0 {
                    break;
                }
                body.extend(&chunk[..size]);
            }
        }
        let at_once = running.fetch_add(1, Ordering::SeqCst) + 1;
        let request = {
            let mut seen = seen.lock().expect("no panic while it was held");
            let request =
                Request { number: seen.len(), method, path, headers, body, at: Instant::now(), at_once };
            seen.push(request.clone());
            request
        };
        let answer = answer(&request);
        std::thread::sleep(answer.after);
        // Before the client can know, so that nobody counts as one of two at once who came after the other.
        running.fetch_sub(1, Ordering::SeqCst);
        let outcome = write(&mut out, &request, &answer);
        if outcome.is_none() || answer.silent || answer.cut.is_some() {
            let _ = out.shutdown(std::net::Shutdown::Both);
            return None;
        }
    }
}

fn write(out: &mut TcpStream, request: &Request, answer: &Answer) -> Option<()> {
    if answer.silent {
        return None;
    }
    let mut head = format!("HTTP/1.1 {} Said\r\ncontent-length: {}\r\n", answer.status, answer.body.len());
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    out.write_all(head.as_bytes()).ok()?;
    if request.method != "HEAD" {
        let most = answer.cut.unwrap_or(usize::MAX).min(answer.body.len());
        out.write_all(&answer.body[..most]).ok()?;
    }
    out.flush().ok()
}
