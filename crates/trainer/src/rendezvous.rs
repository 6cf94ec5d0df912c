//! A rendezvous over TCP: rank 0 sends the same few bytes to all other ranks before they can
//! communicate by NCCL.

use std::io::{Error, ErrorKind, Read, Result as IoResult, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Time within which all ranks have to come; some may still be loading their data.
const TIMEOUT: Duration = Duration::from_secs(120);
/// First bytes of both sides, which tell a rank from any other program.
const MAGIC: [u8; 16] = *b"fewshot trainer\n";
/// Time within which a connected program has to send its magic bytes.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends `message` to `others` ranks that connect to `port`.
///
/// # Errors
/// A port that is taken, or ranks that do not come.
pub(crate) fn send(port: u16, message: &[u8], others: usize) -> Result<(), String> {
    send_within(TIMEOUT, port, message, others)
}

fn send_within(timeout: Duration, port: u16, message: &[u8], others: usize) -> Result<(), String> {
    let failed = |e: Error| format!("rank 0 cannot listen on port {port}: {e}");
    let listener = TcpListener::bind(("0.0.0.0", port)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let started = Instant::now();
    let mut served = 0;
    while served < others {
        match listener.accept() {
            // A connection that fails the handshake is no rank, and does not count.
            Ok((mut peer, _)) => served += usize::from(serve(&mut peer, message).is_ok()),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                if started.elapsed() > timeout {
                    let came = format!("{served} of {others} other ranks came");
                    return Err(format!("{came} to port {port} in {} s", timeout.as_secs()));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(())
}

/// Sends `message` to a peer that begins with the magic bytes.
fn serve(peer: &mut TcpStream, message: &[u8]) -> IoResult<()> {
    peer.set_nonblocking(false)?;
    peer.set_read_timeout(Some(READ_TIMEOUT))?;
    expect_magic(peer)?;
    peer.write_all(&MAGIC)?;
    peer.write_all(message)
}

/// Receives the message of rank 0, which may not listen yet.
///
/// # Errors
/// A rank 0 that is not there, or another program in its place.
pub(crate) fn receive<const N: usize>(host: &str, port: u16) -> Result<[u8; N], String> {
    receive_within(TIMEOUT, host, port)
}

fn receive_within<const N: usize>(
    timeout: Duration,
    host: &str,
    port: u16,
) -> Result<[u8; N], String> {
    let started = Instant::now();
    loop {
        match request(host, port) {
            Ok(message) => return Ok(message),
            Err(e) if started.elapsed() > timeout => {
                return Err(format!("rank 0 does not answer at {host}:{port}: {e}"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn request<const N: usize>(host: &str, port: u16) -> IoResult<[u8; N]> {
    let mut peer = TcpStream::connect((host, port))?;
    peer.set_read_timeout(Some(READ_TIMEOUT))?;
    peer.write_all(&MAGIC)?;
    expect_magic(&mut peer)?;
    let mut message = [0; N];
    peer.read_exact(&mut message)?;
    Ok(message)
}

fn expect_magic(peer: &mut TcpStream) -> IoResult<()> {
    let mut magic = [0; MAGIC.len()];
    peer.read_exact(&mut magic)?;
    if magic == MAGIC { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn all_ranks_receive_the_message_and_other_programs_do_not_count() {
        let port = free_port();
        let message: [u8; 128] = std::array::from_fn(|i| i as u8);
        std::thread::scope(|scope| {
            let others: Vec<_> = (0..3)
                .map(|_| scope.spawn(move || receive::<128>("127.0.0.1", port).unwrap()))
                .collect();
            let stranger = scope.spawn(move || {
                loop {
                    if let Ok(mut peer) = TcpStream::connect(("127.0.0.1", port)) {
                        let _ = peer.write_all(b"GET / HTTP/1.1\r\n\r\n");
                        return;
                    }
                }
            });
            send(port, &message, 3).unwrap();
            assert!(others.into_iter().all(|other| other.join().unwrap() == message));
            stranger.join().unwrap();
        });
    }

    #[test]
    fn ranks_that_do_not_come_are_counted() {
        let (port, short) = (free_port(), Duration::from_millis(150));
        let error = send_within(short, port, b"x", 2).unwrap_err();
        assert!(error.contains("0 of 2 other ranks came"), "{error}");
        let error = receive_within::<1>(short, "127.0.0.1", port).unwrap_err();
        assert!(error.contains("rank 0 does not answer"), "{error}");
        let taken = TcpListener::bind(("0.0.0.0", port)).unwrap();
        let error = send_within(short, port, b"x", 1).unwrap_err();
        assert!(error.contains("cannot listen"), "{error}");
        drop(taken);
    }
}
