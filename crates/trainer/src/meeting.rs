//! How rank 0 tells all others the same few bytes before they can talk by NCCL.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How long the others are waited for, who may still load their data.
const PATIENCE: Duration = Duration::from_secs(120);
/// What both sides begin with, so that a stranger is not taken for one of us.
const GREETING: [u8; 16] = *b"fewshot trainer\n";
/// A peer that says nothing is left alone after this.
const SILENCE: Duration = Duration::from_secs(10);

/// Gives `message` to `others` processes that come to `port`.
///
/// # Errors
/// A port that is taken, or processes that do not come.
pub(crate) fn tell(port: u16, message: &[u8], others: usize) -> Result<(), String> {
    tell_within(port, message, others, PATIENCE)
}

fn tell_within(port: u16, message: &[u8], others: usize, most: Duration) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("rank 0 cannot be met at port {port}: {e}");
    let listener = TcpListener::bind(("0.0.0.0", port)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let started = Instant::now();
    let mut told = 0;
    while told < others {
        match listener.accept() {
            // Who does not greet is no rank.
            Ok((mut peer, _)) => told += usize::from(greet(&mut peer, message).is_ok()),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                if started.elapsed() > most {
                    let come = format!("{told} of {others} other ranks came");
                    return Err(format!("{come} to port {port} in {} s", most.as_secs()));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(())
}

fn greet(peer: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    peer.set_nonblocking(false)?;
    peer.set_read_timeout(Some(SILENCE))?;
    let mut greeting = [0; GREETING.len()];
    peer.read_exact(&mut greeting)?;
    if greeting != GREETING {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    peer.write_all(&GREETING)?;
    peer.write_all(message)
}

/// What rank 0 has to tell.
///
/// # Errors
/// A rank 0 that is not there, or something else in its place.
pub(crate) fn hear<const N: usize>(host: &str, port: u16) -> Result<[u8; N], String> {
    hear_within(host, port, PATIENCE)
}

fn hear_within<const N: usize>(host: &str, port: u16, most: Duration) -> Result<[u8; N], String> {
    let started = Instant::now();
    loop {
        match ask(host, port) {
            Ok(message) => return Ok(message),
            Err(e) if started.elapsed() > most => {
                return Err(format!("rank 0 is not met at {host}:{port}: {e}"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn ask<const N: usize>(host: &str, port: u16) -> std::io::Result<[u8; N]> {
    let mut peer = TcpStream::connect((host, port))?;
    peer.set_read_timeout(Some(SILENCE))?;
    peer.write_all(&GREETING)?;
    let mut greeting = [0; GREETING.len()];
    peer.read_exact(&mut greeting)?;
    if greeting != GREETING {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut message = [0; N];
    peer.read_exact(&mut message)?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn all_hear_the_same_and_strangers_do_not_count() {
        let port = free_port();
        let message: [u8; 128] = std::array::from_fn(|i| i as u8);
        std::thread::scope(|scope| {
            let others: Vec<_> = (0..3)
                .map(|_| scope.spawn(move || hear::<128>("127.0.0.1", port).unwrap()))
                .collect();
            let stranger = scope.spawn(move || {
                loop {
                    if let Ok(mut peer) = TcpStream::connect(("127.0.0.1", port)) {
                        let _ = peer.write_all(b"GET / HTTP/1.1\r\n\r\n");
                        return;
                    }
                }
            });
            tell(port, &message, 3).unwrap();
            assert!(others.into_iter().all(|other| other.join().unwrap() == message));
            stranger.join().unwrap();
        });
    }

    #[test]
    fn who_does_not_come_is_told() {
        let (port, short) = (free_port(), Duration::from_millis(150));
        let error = tell_within(port, b"x", 2, short).unwrap_err();
        assert!(error.contains("0 of 2 other ranks came"), "{error}");
        let error = hear_within::<1>("127.0.0.1", port, short).unwrap_err();
        assert!(error.contains("rank 0 is not met"), "{error}");
        let taken = TcpListener::bind(("0.0.0.0", port)).unwrap();
        let error = tell_within(port, b"x", 1, short).unwrap_err();
        assert!(error.contains("cannot be met"), "{error}");
        drop(taken);
    }
}
