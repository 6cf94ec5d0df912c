//! Files that lie where a checkpoint is expected, as a failed download leaves them.

/// How many bytes of a text are looked at.
const START: usize = 1 << 10;

/// Says what a file is that is no checkpoint, and what to do, if that is known.
pub fn of_no_checkpoint(bytes: &[u8]) -> Option<String> {
    let compressed = [
        (&b"\x1f\x8b"[..], "gzip", "gunzip -k"),
        (b"\xfd7zXZ\0", "xz", "unxz -k"),
        (b"BZh", "bzip2", "bunzip2 -k"),
        (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
    ];
    if let Some((_, what, tool)) = compressed.iter().find(|(start, ..)| bytes.starts_with(start)) {
        return Some(format!("is compressed by {what}: unpack it first ({tool} FILE)"));
    }
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(START)]).to_ascii_lowercase();
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with("version https://git-lfs.github.com") {
        let what = "is a pointer of Git LFS, not the file itself: fetch that by `git lfs pull`";
        return Some(what.to_owned());
    }
    if ["<!doctype html", "<html", "<?xml", "<head"].iter().any(|start| text.starts_with(start)) {
        let what = "is a web page, not a checkpoint: its address leads to a page about the file, to a \
                    login, or to an error; download the file itself";
        return Some(what.to_owned());
    }
    (bytes.get(257..262) == Some(b"ustar")).then(|| {
        "is a tar archive: unpack it, and name the checkpoint in it (what torch.save calls .tar is \
         none)"
            .to_owned()
    })
}
