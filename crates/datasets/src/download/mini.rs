//! mini-ImageNet, from its shards on the Hugging Face hub.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use fewshot_data::mini_imagenet;
use fewshot_fetch::{
    Archive, DigestAlgorithm, Error, Event, Format, Hub, ListedFile, Listener, Listing,
    PublishedDataset, Remote, Size,
};

use crate::shards::{Labelled, ParquetShard};

/// Prefixes of the shards to download; the repository's `test` has images that are not
/// mini-ImageNet's.
const SPLITS: [&str; 2] = ["data/train-", "data/validation-"];
/// Limit on the bytes of all shards: 7.4 GB today, and room for another version.
const MAX_BYTES: u64 = 16_000_000_000;

/// Adds the shards that the hub lists to the dataset's package. The list is stored beside the
/// folder, for later calls that cannot reach the hub. Without the hub and without a stored list,
/// the given shards are used unverified, and the note that says so is returned; classes and counts
/// of the result are checked in any case.
pub fn list_shards(
    dataset: &mut PublishedDataset,
    hub: &Hub,
    from: &[PathBuf],
    data: &Path,
    listener: Listener<'_>,
) -> Result<Option<String>, String> {
    let repository = dataset.repository.unwrap_or_default();
    let stored = data.join(format!(".{}.list", dataset.package.folder));
    let remotes = match hub.dataset(repository, listener) {
        Ok(listing) => {
            let remotes = shards(&listing, repository, hub)?;
            store(&stored, &remotes)?;
            remotes
        }
        Err(Error::Offline { .. }) if stored.exists() => recall(&stored)?,
        Err(Error::Offline { .. }) if !from.is_empty() => {
            let remotes = from.iter().map(|path| of_file(path, listener));
            add(dataset, remotes.collect::<Result<_, _>>()?);
            return Ok(Some("the hub was not asked for the shards' digests".into()));
        }
        Err(e) => return Err(super::advise(&e)),
    };
    add(dataset, remotes);
    Ok(None)
}

fn add(dataset: &mut PublishedDataset, remotes: Vec<Remote>) {
    let archive = |remote| Archive { remote, format: Format::Plain, strip: None };
    dataset.package.archives = remotes.into_iter().map(archive).collect();
}

fn shards(listing: &Listing, repository: &str, hub: &Hub) -> Result<Vec<Remote>, String> {
    let is_ours = |file: &&ListedFile| {
        let path = &file.path;
        SPLITS.iter().any(|split| path.starts_with(split)) && path.ends_with(".parquet")
    };
    let files: Vec<_> = listing.files.iter().filter(is_ours).collect();
    if files.is_empty() {
        let commit = &listing.commit;
        return Err(format!("{repository} has no {}….parquet at commit {commit}", SPLITS[0]));
    }
    let bytes = files.iter().fold(0u64, |sum, file| sum.saturating_add(file.size));
    if bytes > MAX_BYTES {
        return Err(format!("{repository} has shards of {bytes} bytes, at most {MAX_BYTES} fit"));
    }
    let name = |file: &ListedFile| {
        format!("mini-imagenet-{}", file.path.rsplit('/').next().unwrap_or_default())
    };
    let remote = |file| hub.dataset_file(repository, &listing.commit, file, name(file));
    Ok(files.into_iter().map(remote).collect())
}

/// Writes one line per shard: digest, bytes, name, address.
fn store(path: &Path, remotes: &[Remote]) -> Result<(), String> {
    let line = |remote: &Remote| {
        let Remote { name, mirrors, size, digest } = remote;
        format!("{digest} {} {name} {}\n", size.limit(), mirrors.concat())
    };
    let lines: String = remotes.iter().map(line).collect();
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || {
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(lines.as_bytes())?;
        file.persist(path)?;
        Ok::<_, std::io::Error>(())
    };
    write().map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// Reads what [`store`] wrote.
fn recall(path: &Path) -> Result<Vec<Remote>, String> {
    let lines =
        fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let remote = |line: &str| {
        let parts: Vec<_> = line.split(' ').collect();
        let [digest, bytes, name, url] = parts[..] else { return None };
        let is_name = !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with('.');
        Some(Remote {
            name: is_name.then(|| name.to_owned())?,
            mirrors: vec![url.to_owned()],
            size: Size::Exactly(bytes.parse().ok()?),
            digest: digest.parse().ok()?,
        })
    };
    let remotes: Option<Vec<_>> = lines.lines().map(remote).collect();
    let damaged =
        || format!("{}: damaged; delete it and call again with a network", path.display());
    remotes.ok_or_else(damaged)
}

/// Describes a shard of which nothing but this file is known.
fn of_file(path: &Path, listener: Listener<'_>) -> Result<Remote, String> {
    let total = path.metadata().map_err(|e| format!("{}: {e}", path.display()))?.len();
    let digest = DigestAlgorithm::Sha256
        .digest_file(path, |done| listener(Event::Verifying { done, total }))
        .map_err(|e| e.to_string())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Remote { name, mirrors: Vec::new(), size: Size::Exactly(total), digest })
}

/// Replaces folders among the given paths by the parquet files in them.
pub fn expand(given: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut all = Vec::new();
    for path in given {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let told = |e: std::io::Error| format!("--from {}: {e}", path.display());
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(told)? {
            let file = entry.map_err(told)?.path();
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // A copy of the whole repository has the `test` split, too.
            if name.ends_with(".parquet") && !name.contains("test-") {
                files.push(file);
            }
        }
        if files.is_empty() {
            return Err(format!("--from {}: no .parquet is in it", path.display()));
        }
        files.sort();
        all.extend(files);
    }
    Ok(all)
}

/// Writes `train`, `val` and `test`, each with one folder per class, from the shards in a folder.
/// Images are copied byte for byte.
pub fn make(
    shards: &Path,
    out: &Path,
    images_per_class: usize,
    listener: Listener<'_>,
) -> Result<(), String> {
    let told = |e: std::io::Error| format!("{}: {e}", shards.display());
    let paths = fs::read_dir(shards).map_err(told)?.map(|entry| Ok(entry.map_err(told)?.path()));
    let mut paths = paths.collect::<Result<Vec<_>, String>>()?;
    paths.sort();
    let mut total = 0u64;
    for path in &paths {
        let shard = ParquetShard::open(path).map_err(|e| e.to_string())?;
        check_names(shard.names()).map_err(|why| format!("{}: {why}", path.display()))?;
        total += shard.rows() as u64;
    }
    let mut writer = Writer { out, images_per_class, counts: BTreeMap::new() };
    let mut done = 0;
    for (number, path) in paths.iter().enumerate() {
        let shard = ParquetShard::open(path).map_err(|e| e.to_string())?;
        let write = &mut |row: Labelled<'_>| {
            writer.write(&shard.names()[row.label], number, row)?;
            done += 1;
            listener(Event::Converting { done, total });
            Ok(())
        };
        shard.for_each(write).map_err(|e| e.to_string())?;
    }
    writer.check()
}

/// Checks that the names are the 100 WordNet IDs, in whatever order.
fn check_names(names: &[String]) -> Result<(), String> {
    if let Some(other) = names.iter().find(|name| mini_imagenet::split_of(name).is_none()) {
        return Err(format!("`{other}` is no class of mini-ImageNet"));
    }
    let different: HashSet<_> = names.iter().collect();
    let all = mini_imagenet::classes().count();
    if different.len() != all || names.len() != all {
        let (got, different) = (names.len(), different.len());
        return Err(format!(
            "it names {got} classes, {different} of them different, instead of {all}"
        ));
    }
    Ok(())
}

struct Writer<'a> {
    out: &'a Path,
    images_per_class: usize,
    counts: BTreeMap<String, usize>,
}

impl Writer<'_> {
    fn write(&mut self, wnid: &str, shard: usize, row: Labelled<'_>) -> Result<(), String> {
        // Only known classes become paths.
        let class = mini_imagenet::class(wnid).ok_or_else(|| format!("`{wnid}` is no class"))?;
        if !row.bytes.starts_with(&[0xff, 0xd8, 0xff]) {
            return Err(format!("row {} is no JPEG", row.row));
        }
        if self.counts.get(wnid).is_some_and(|count| *count > self.images_per_class) {
            // A small file can hold one image a million times: fail now rather than fill the disk.
            return self.check();
        }
        let folder = self.out.join(class.folder()).join(class.wnid);
        let fail = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
        if !self.counts.contains_key(wnid) {
            fs::create_dir_all(&folder).map_err(|e| fail(&folder, e))?;
        }
        let made = format!("{wnid}_{shard:02}-{:05}.jpg", row.row);
        let names = [row.path.and_then(plain_name), Some(&*made)];
        for name in names.into_iter().flatten() {
            let path = folder.join(name);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    file.write_all(row.bytes).map_err(|e| fail(&path, e))?;
                    *self.counts.entry(wnid.to_owned()).or_default() += 1;
                    return Ok(());
                }
                // Two rows have the same name: the second is named after its row.
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(fail(&path, e)),
            }
        }
        Err(format!("row {}: `{made}` is there already", row.row))
    }

    fn check(&self) -> Result<(), String> {
        let images = self.images_per_class;
        let count = |wnid: &str| self.counts.get(wnid).copied().unwrap_or(0);
        let wrong = mini_imagenet::classes().filter(|class| count(class.wnid) != images);
        let wrong: Vec<_> =
            wrong.map(|class| format!("{} has {}", class.wnid, count(class.wnid))).collect();
        if wrong.is_empty() {
            return Ok(());
        }
        let (some, more) = (wrong.iter().take(3), wrong.len().saturating_sub(3));
        let some = some.cloned().collect::<Vec<_>>().join(", ");
        Err(format!(
            "each class should have {images} images, but {some}{}: shards are missing, or given twice",
            if more > 0 { format!(", and {more} more are wrong") } else { String::new() }
        ))
    }
}

/// Returns the last component of a path, if it is a plain name of a JPEG.
fn plain_name(path: &str) -> Option<&str> {
    let name = path.rsplit(['/', '\\']).next()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_jpeg = [".jpg", ".jpeg", ".JPEG", ".JPG"].iter().any(|end| name.ends_with(end));
    let fits = name.len() <= 100 && !name.starts_with('.') && name.bytes().all(is_plain);
    (is_jpeg && fits).then_some(name)
}

#[cfg(test)]
mod tests;
