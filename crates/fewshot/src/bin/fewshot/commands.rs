//! What the commands do.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use fewshot::{
    Album, Error, FitOptions, HeadKind, Network, Photo, Photos, ServeOptions, Server, Wanted,
    extract, report,
};
use fewshot_experiment::write_atomically;
use fewshot_progress::{counted, printable, say, warn};

use crate::Outcome;
use crate::arguments::{
    Add, Check, Command, CommandLine, Embed, Fit, Head, ModelArgument, Predict, Report, Serve,
    Unknown,
};
use crate::output;

type Done = Result<Outcome, Error>;

impl CommandLine {
    pub fn run(self) -> Done {
        if let Some(threads) = self.threads {
            // Once, before anything computes.
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global();
            pool.map_err(|e| failed(Path::new("--threads"), e))?;
        }
        match self.command {
            Command::Fit(command) => command.run(),
            Command::Predict(command) => command.run(),
            Command::Add(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Report(command) => command.run(),
            Command::Serve(command) => command.run(),
            Command::Embed(command) => command.run(),
            Command::Completions { .. } => Ok(Outcome::Done),
        }
    }
}

fn failed(path: &Path, reason: impl ToString) -> Error {
    Error::Photos { path: path.to_owned(), reason: reason.to_string() }
}

impl ModelArgument {
    /// Opens the network that was named, or the one that an album was made with.
    fn open(&self, album: Option<(&Path, &Album)>) -> Result<Network, Error> {
        if let Some(path) = &self.model {
            return Network::open(path);
        }
        let Some((path, album)) = album else {
            return Network::open(Path::new(Network::DEFAULT));
        };
        let reference = PathBuf::from(album.network_reference());
        if reference == Path::new(Network::DEFAULT) {
            return Network::open(&reference);
        }
        let beside = path.parent().unwrap_or(Path::new("")).join(&reference);
        let reference = if beside.exists() { beside } else { reference };
        Network::open(&reference).map_err(|error| {
            let reason = format!(
                "the network that it was made with is not there ({error}): name it by --model"
            );
            failed(path, reason)
        })
    }
}

impl Fit {
    fn run(self) -> Done {
        if !(self.false_alarms > 0.0 && self.false_alarms < 1.0) {
            return Err(failed(Path::new("--false-alarms"), "expected a share between 0 and 1"));
        }
        let out = self.out.clone().unwrap_or_else(|| {
            let name = self.photos.file_name().unwrap_or(self.photos.as_os_str());
            let stem = Path::new(name).file_stem().unwrap_or(name);
            PathBuf::from(stem).with_extension("fewshot")
        });
        let photos = Photos::labelled(&self.photos)?;
        photos.notes.iter().for_each(|note| warn(format_args!("note: {note}")));
        if photos.classes.len() < 2 {
            let reason = format!(
                "{} of photos ({}): at least 2 are needed, a folder for each",
                counted(photos.classes.len(), "class folder"),
                photos.classes.join(", ")
            );
            return Err(failed(&self.photos, reason));
        }
        // The network of an earlier album stays, and its photos are not computed again.
        let earlier = out.exists().then(|| Album::load(&out).ok()).flatten();
        let network = self.model.open(earlier.as_ref().map(|album| (&*out, album)))?;
        let earlier = earlier.filter(|album| album.check_network(&network).is_ok());
        let known = earlier.map(|album| album.known()).unwrap_or_default();
        let mut options = FitOptions::default();
        options.head = match self.head {
            Head::Prototype => HeadKind::Prototype,
            Head::Logistic => HeadKind::Logistic,
            Head::Finetune => HeadKind::Finetune,
        };
        (options.false_alarms, options.seed) = (self.false_alarms, self.seed);
        let mut album = Album::fit_knowing(&network, &photos, &options, &known)?;
        if network.reference() != Network::DEFAULT
            && let Some(path) = relative(&out, network.reference())
        {
            // A file that has the name of the network that comes along is told from it by its folder.
            let is_taken = path == Network::DEFAULT;
            album.set_network_reference(if is_taken { format!("./{path}") } else { path });
        }
        album.save(&out)?;
        deliver(&if self.json { output::fitted_json(&album) } else { output::fitted(&album) })?;
        say(format_args!("written: {}", out.display()));
        Ok(broken(&album.broken))
    }
}

impl Predict {
    fn run(self) -> Done {
        let mut album = Album::load(&self.album)?;
        match self.unknown {
            Unknown::Auto => {}
            Unknown::Below(cosine) => album.set_threshold(Some(cosine)),
            Unknown::Off => album.set_threshold(None),
        }
        let network = self.model.open(Some((&self.album, &album)))?;
        let photos = Photos::unlabelled(&with_input(&self.images)?)?;
        photos.notes.iter().for_each(|note| warn(format_args!("note: {note}")));
        let (mut messages, mut answers) = (Vec::new(), Vec::new());
        for (photo, answer) in album.classify(&network, &photos)? {
            match answer {
                Ok(answer) => answers.push((photo, answer)),
                Err(error) => messages.push(error.to_string()),
            }
        }
        if answers.is_empty() {
            let first = messages.first().cloned().unwrap_or_default();
            return Err(failed(
                &self.images[0],
                format!("no photo can be read; the first: {first}"),
            ));
        }
        if let Some(folder) = &self.copy_to {
            for (photo, answer) in &answers {
                let label = match answer.is_unknown {
                    true => "unknown",
                    false => &album.classes[answer.class()],
                };
                copy(photo, &folder.join(safe_name(label)))?;
            }
        }
        let top = usize::from(self.top);
        deliver(
            &output::predicted(&album, &answers, self.format, top)
                .map_err(|e| failed(&self.album, e))?,
        )?;
        Ok(broken(&messages))
    }
}

impl Add {
    fn run(self) -> Done {
        let mut album = Album::load(&self.album)?;
        let network = self.model.open(Some((&self.album, &album)))?;
        let photos = Photos::labelled(&self.photos)?;
        photos.notes.iter().for_each(|note| warn(format_args!("note: {note}")));
        let before = album.classes.len();
        let count = album.add(&network, &photos)?;
        album.save(&self.album)?;
        deliver(&output::fitted(&album))?;
        say(format_args!(
            "added {} of {}, {}",
            counted(count, "photo"),
            photos.photos.len(),
            counted(album.classes.len() - before, "new class")
        ));
        Ok(broken(&album.broken))
    }
}

impl Check {
    fn run(self) -> Done {
        let album = Album::load(&self.album)?;
        let network = self.model.open(Some((&self.album, &album)))?;
        let photos = Photos::labelled(&self.photos)?;
        photos.notes.iter().for_each(|note| warn(format_args!("note: {note}")));
        let (checked, errors) = album.check(&network, &photos)?;
        deliver(&match self.json {
            true => serde_json::to_string_pretty(&checked).map_err(|e| failed(&self.album, e))?,
            false => output::checked(&checked),
        })?;
        Ok(broken(&errors.iter().map(ToString::to_string).collect::<Vec<_>>()))
    }
}

impl Report {
    fn run(self) -> Done {
        let album = Album::load(&self.album)?;
        let name = self.album.file_stem().unwrap_or_default().to_string_lossy();
        let (html, broken_photos) = match &self.test {
            None => (report(&album, &name, None)?, Vec::new()),
            Some(path) => {
                let network = self.model.open(Some((&self.album, &album)))?;
                let photos = Photos::labelled(path)?;
                let (tested, errors) = album.test(&network, &photos)?;
                (report(&album, &name, Some(&tested))?, errors)
            }
        };
        write_atomically(&self.out, html.as_bytes())?;
        say(format_args!("written: {}", self.out.display()));
        Ok(broken(&broken_photos.iter().map(ToString::to_string).collect::<Vec<_>>()))
    }
}

impl Serve {
    fn run(self) -> Done {
        let album = Album::load(&self.album)?;
        let network = self.model.open(Some((&self.album, &album)))?;
        let mut options = ServeOptions::default();
        options.address = (self.host, self.port).into();
        options.token = self.token;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|e| failed(&self.album, e))?;
        runtime.block_on(async {
            let server = Server::bind(self.album.clone(), album, network, &options).await?;
            deliver(&format!("serving {} on http://{}", self.album.display(), server.address()))?;
            say("Ctrl-C ends it");
            let shared = server.handle();
            let stop = async {
                // Without signals it serves until it is killed.
                if tokio::signal::ctrl_c().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            server.run(stop).await.map_err(|e| failed(&self.album, e))?;
            if let Some(path) = shared.keep()? {
                warn(format_args!("changes that were not saved are in {}", path.display()));
            }
            Ok(Outcome::Done)
        })
    }
}

impl Embed {
    fn run(self) -> Done {
        let network = self.model.open(None)?;
        let photos = Photos::unlabelled(&with_input(&self.images)?)?;
        let (mut messages, mut names, mut features) = (Vec::new(), Vec::new(), Vec::new());
        for (photo, extracted) in photos.photos.iter().zip(extract(
            &network,
            &photos.photos,
            &HashMap::new(),
            Wanted::Features,
        )?) {
            match extracted {
                Ok(extracted) => {
                    names.push(photo.name.clone());
                    features.push(extracted.feature);
                }
                Err(error) => messages.push(error.to_string()),
            }
        }
        if features.is_empty() {
            return Err(failed(&self.out, "no photo can be read"));
        }
        let bytes =
            output::embedded(&self.out, &names, &features).map_err(|e| failed(&self.out, e))?;
        write_atomically(&self.out, &bytes)?;
        say(format_args!(
            "written: {} ({})",
            self.out.display(),
            counted(features.len(), "feature")
        ));
        Ok(broken(&messages))
    }
}

/// Returns the path of a network from the folder of an album on, so that the album names no folder of this
/// machine, and both can be moved together; nothing for an address.
fn relative(album: &Path, network: &str) -> Option<String> {
    let network = Path::new(network).canonicalize().ok()?;
    let folder = album.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
    let shared = folder.components().zip(network.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(shared).map(|_| Path::new("..").to_owned());
    let down = network.components().skip(shared).map(|part| PathBuf::from(part.as_os_str()));
    let path: PathBuf = up.chain(down).collect();
    Some(path.to_string_lossy().replace('\\', "/"))
}

/// Warns of each broken photo.
fn broken(messages: &[String]) -> Outcome {
    messages.iter().for_each(|message| warn(format_args!("warning: {message}")));
    if messages.is_empty() { Outcome::Done } else { Outcome::SomeBroken }
}

fn deliver(text: &str) -> Result<(), Error> {
    fewshot_progress::deliver(text).map_err(|e| failed(Path::new("standard output"), e))
}

/// Puts the paths of standard input in the place of `-`.
fn with_input(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut all = Vec::new();
    for path in paths {
        if path.as_os_str() != "-" {
            all.push(path.clone());
            continue;
        }
        for line in std::io::stdin().lock().lines() {
            let line = line.map_err(|e| failed(Path::new("standard input"), e))?;
            if !line.is_empty() {
                all.push(PathBuf::from(line));
            }
        }
    }
    match all.is_empty() {
        true => Err(failed(Path::new("standard input"), "no path came")),
        false => Ok(all),
    }
}

/// A label as the name of a folder: nothing that leads elsewhere.
fn safe_name(label: &str) -> String {
    let plain: String =
        printable(label).chars().map(|c| if "/\\:".contains(c) { '_' } else { c }).collect();
    match plain.trim_matches('.').is_empty() {
        true => "_".to_owned(),
        false => plain.trim_start_matches('.').to_owned(),
    }
}

/// Copies a photo into a folder, under a name that is free there.
fn copy(photo: &Photo, folder: &Path) -> Result<(), Error> {
    let bytes = photo.read()?;
    std::fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
    let name = photo.name.rsplit(['/', '\\', '!']).next().unwrap_or("photo");
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    for number in 0u32.. {
        let name = match number {
            0 => name.to_owned(),
            number => format!("{stem}-{number}.{ending}"),
        };
        let path = folder.join(safe_name(&name));
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
        match file {
            Ok(mut file) => {
                return std::io::Write::write_all(&mut file, &bytes).map_err(|e| failed(&path, e));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                // The same photo, of an earlier call.
                if std::fs::read(&path).is_ok_and(|there| there == bytes) {
                    return Ok(());
                }
            }
            Err(error) => return Err(failed(&path, error)),
        }
    }
    Ok(())
}
