//! Attacks below HTTP's good manners, over plain sockets: bodies without end, bytes that come one by
//! one, heads that flood, connections that vanish.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::report::Checks;

/// How long a prompt refusal may take.
const PROMPT: Duration = Duration::from_secs(10);
/// How long the server may bear with a slow client, its own limit (a minute) and some slack.
const PATIENCE: Duration = Duration::from_secs(90);
const GIGABYTE: u64 = 1 << 30;
/// What may be sent of an oversized body before the server must have answered: the limit of an image
/// and what lies in the sockets' buffers.
const MAX_SENT: u64 = 64 << 20;

/// Something that must be answered with one of `statuses`, or with a closed connection if those
/// hold 0.
struct Attack {
    name: &'static str,
    run: fn(&str) -> anyhow::Result<u16>,
    statuses: &'static [u16],
}

const ATTACKS: &[Attack] = &[
    Attack {
        name: "a gigabyte announced",
        run: gigabyte_announced,
        statuses: &[413],
    },
    Attack {
        name: "a gigabyte announced, asking first",
        run: gigabyte_expected,
        statuses: &[413],
    },
    Attack {
        name: "a gigabyte streamed in chunks",
        run: gigabyte_streamed,
        statuses: &[413, 0],
    },
    Attack {
        name: "ten thousand headers",
        run: many_headers,
        statuses: &[431, 400, 0],
    },
    Attack {
        name: "a header of a megabyte",
        run: long_header,
        statuses: &[431, 400, 0],
    },
    Attack {
        name: "a path of a hundred thousand bytes",
        run: long_path,
        statuses: &[414, 431, 400],
    },
    Attack {
        name: "two lengths that disagree",
        run: two_lengths,
        statuses: &[400, 0],
    },
    Attack {
        name: "a length below zero",
        run: negative_length,
        statuses: &[400, 0],
    },
    Attack {
        name: "a chunk size that is no number",
        run: bad_chunk,
        statuses: &[400, 0],
    },
    Attack {
        name: "bytes that are not HTTP",
        run: not_http,
        statuses: &[400, 0],
    },
    Attack {
        name: "another site's host name",
        run: other_host,
        statuses: &[403],
    },
    Attack {
        name: "another site's page that uploads",
        run: other_origin,
        statuses: &[403],
    },
    Attack {
        name: "a method nobody knows",
        run: unknown_method,
        statuses: &[405],
    },
];

/// Runs the prompt attacks, one after the other. Returns how many.
pub(crate) fn run(address: &str, checks: &mut Checks) -> usize {
    for attack in ATTACKS {
        let started = Instant::now();
        let outcome = (attack.run)(address);
        let answered = matches!(&outcome, Ok(status) if attack.statuses.contains(status));
        checks.that(answered && started.elapsed() < PROMPT, || {
            format!(
                "{}: expected {:?} in {} s, got {outcome:?} after {:.1} s",
                attack.name,
                attack.statuses,
                PROMPT.as_secs(),
                started.elapsed().as_secs_f64()
            )
        });
    }
    checks.step("connections that vanish", vanish(address));
    ATTACKS.len() + 1
}

/// Attacks the server at an address, and fails if it bears with that for too long.
type SlowAttack = fn(&str) -> anyhow::Result<()>;

/// A slow attack under way.
#[derive(Debug)]
pub(crate) struct Slow {
    name: &'static str,
    handle: JoinHandle<anyhow::Result<()>>,
}

/// Starts the attacks that take their time; they run beside everything else.
pub(crate) fn start_slow(address: &str) -> Vec<Slow> {
    const SLOW: [(&str, SlowAttack); 3] = [
        ("a hundred heads, byte by byte", slow_heads),
        ("a body, byte by byte", slow_body),
        ("a body in chunks of one byte without end", endless_chunks),
    ];
    SLOW.into_iter()
        .map(|(name, run)| {
            let address = address.to_owned();
            Slow {
                name,
                handle: thread::spawn(move || run(&address)),
            }
        })
        .collect()
}

/// Waits for the slow attacks (each has a deadline of its own). Returns how many.
pub(crate) fn finish_slow(attacks: Vec<Slow>, checks: &mut Checks) -> usize {
    let count = attacks.len();
    for attack in attacks {
        let outcome = attack
            .handle
            .join()
            .unwrap_or_else(|_| Err(anyhow::anyhow!("the attack panicked")));
        checks.step(attack.name, outcome);
    }
    count
}

fn connect(address: &str) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).context("connecting")?;
    stream.set_read_timeout(Some(PROMPT)).context("timeout")?;
    stream.set_write_timeout(Some(PROMPT)).context("timeout")?;
    Ok(stream)
}

/// Sends `request` and returns the status of the answer, 0 if the connection was closed instead.
fn exchange(address: &str, request: &[u8]) -> anyhow::Result<u16> {
    let mut stream = connect(address)?;
    // The server may answer and close before it has read everything.
    if let Err(error) = stream.write_all(request)
        && !is_closed(&error)
    {
        return Err(error).context("sending");
    }
    status_of(&mut stream)
}

fn status_of(stream: &mut TcpStream) -> anyhow::Result<u16> {
    let mut head = Vec::new();
    let mut byte = [0];
    while head.len() < 12 {
        match stream.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => head.push(byte[0]),
            Err(error) if is_closed(&error) => break,
            Err(error) => return Err(error).context("waiting for an answer"),
        }
    }
    if head.is_empty() {
        return Ok(0);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    text.strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.parse().ok())
        .with_context(|| format!("the answer begins with {text:?}"))
}

fn is_closed(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}

fn post_head(address: &str, more: &str) -> String {
    format!("POST /v1/images HTTP/1.1\r\nhost: {address}\r\ncontent-type: image/png\r\n{more}\r\n")
}

fn get_with(address: &str, more: &str) -> String {
    format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\n{more}\r\n")
}

fn gigabyte_announced(address: &str) -> anyhow::Result<u16> {
    let head = post_head(address, &format!("content-length: {GIGABYTE}\r\n"));
    exchange(address, head.as_bytes())
}

fn gigabyte_expected(address: &str) -> anyhow::Result<u16> {
    let more = format!("content-length: {GIGABYTE}\r\nexpect: 100-continue\r\n");
    exchange(address, post_head(address, &more).as_bytes())
}

fn gigabyte_streamed(address: &str) -> anyhow::Result<u16> {
    let mut stream = connect(address)?;
    let head = post_head(address, "transfer-encoding: chunked\r\n");
    stream.write_all(head.as_bytes()).context("sending")?;
    let mut chunk = b"10000\r\n".to_vec();
    chunk.extend(std::iter::repeat_n(0x42_u8, 0x10000));
    chunk.extend_from_slice(b"\r\n");
    let mut sent = 0;
    while sent < GIGABYTE {
        match stream.write_all(&chunk) {
            Ok(()) => sent += 0x10000,
            Err(error) if is_closed(&error) => break,
            Err(error) => return Err(error).context("sending"),
        }
        if sent > MAX_SENT {
            bail!("{} MiB were taken without an answer", sent >> 20);
        }
    }
    status_of(&mut stream)
}

fn many_headers(address: &str) -> anyhow::Result<u16> {
    let more: String = (0..10_000).map(|i| format!("x-{i}: y\r\n")).collect();
    exchange(address, get_with(address, &more).as_bytes())
}

fn long_header(address: &str) -> anyhow::Result<u16> {
    let more = format!("x-long: {}\r\n", "y".repeat(1 << 20));
    exchange(address, get_with(address, &more).as_bytes())
}

fn long_path(address: &str) -> anyhow::Result<u16> {
    let path = "a".repeat(100_000);
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    exchange(address, request.as_bytes())
}

fn two_lengths(address: &str) -> anyhow::Result<u16> {
    let head = post_head(address, "content-length: 3\r\ncontent-length: 30\r\n");
    exchange(address, format!("{head}abc").as_bytes())
}

fn negative_length(address: &str) -> anyhow::Result<u16> {
    exchange(
        address,
        post_head(address, "content-length: -1\r\n").as_bytes(),
    )
}

fn bad_chunk(address: &str) -> anyhow::Result<u16> {
    let head = post_head(address, "transfer-encoding: chunked\r\n");
    exchange(address, format!("{head}zz\r\nabc\r\n").as_bytes())
}

fn not_http(address: &str) -> anyhow::Result<u16> {
    // How a client begins that takes this for a TLS port.
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.extend_from_slice(&[0; 600]);
    exchange(address, &hello)
}

fn other_host(address: &str) -> anyhow::Result<u16> {
    exchange(
        address,
        b"GET /v1/clusters HTTP/1.1\r\nhost: photos.example\r\n\r\n",
    )
}

fn other_origin(address: &str) -> anyhow::Result<u16> {
    let more = "origin: http://photos.example\r\ncontent-length: 0\r\n";
    exchange(address, post_head(address, more).as_bytes())
}

fn unknown_method(address: &str) -> anyhow::Result<u16> {
    let request = format!("BREW /v1/clusters HTTP/1.1\r\nhost: {address}\r\n\r\n");
    exchange(address, request.as_bytes())
}

/// Two hundred clients that leave in the middle of their body, and one that stays and is served.
fn vanish(address: &str) -> anyhow::Result<()> {
    for _ in 0..200 {
        let mut stream = connect(address)?;
        let head = post_head(address, "content-length: 100000\r\n");
        stream.write_all(head.as_bytes()).context("sending")?;
        stream.write_all(&[0; 1_000]).context("sending")?;
    }
    let status = exchange(address, get_with(address, "").as_bytes())?;
    if status != 200 {
        bail!("/healthz answers {status} afterwards");
    }
    Ok(())
}

fn slow_heads(address: &str) -> anyhow::Result<()> {
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(connect(address)?);
    }
    let text = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\nx-slow: ");
    let deadline = Instant::now() + PATIENCE;
    let mut sent = 0;
    while !streams.is_empty() {
        if Instant::now() > deadline {
            bail!("{} connections are still open", streams.len());
        }
        let byte = text.as_bytes().get(sent).copied().unwrap_or(b'y');
        sent += 1;
        streams.retain_mut(|stream| stream.write_all(&[byte]).is_ok());
        // One byte a second: that is the attack.
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

fn slow_body(address: &str) -> anyhow::Result<()> {
    drip(address, "content-length: 1000000\r\n", b"x")
}

fn endless_chunks(address: &str) -> anyhow::Result<()> {
    drip(address, "transfer-encoding: chunked\r\n", b"1\r\nx\r\n")
}

/// Sends `part` again and again until the server has had enough.
fn drip(address: &str, more: &str, part: &[u8]) -> anyhow::Result<()> {
    let mut stream = connect(address)?;
    stream
        .write_all(post_head(address, more).as_bytes())
        .context("sending")?;
    stream
        .set_read_timeout(Some(Duration::from_millis(250)))
        .context("timeout")?;
    let deadline = Instant::now() + PATIENCE;
    let mut byte = [0; 1];
    while Instant::now() < deadline {
        if stream.write_all(part).is_err() {
            return Ok(());
        }
        match stream.read(&mut byte) {
            // Answered or closed.
            Ok(_) => return Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if is_closed(&error) => return Ok(()),
            Err(error) => return Err(error).context("reading"),
        }
    }
    bail!("the server still listens after {} s", PATIENCE.as_secs())
}
