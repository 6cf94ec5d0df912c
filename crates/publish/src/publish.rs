//! `publish`: makes a folder of a checkpoint for the Hugging Face hub.

use std::path::{Path, PathBuf};

use candle_core::Device;
use fewshot_experiment::{Checkpoint, Error, RawConfig, write_atomically};

use crate::card::Card;
use crate::half;
use crate::measured::Measured;

/// Arguments of `publish`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask publish checkpoints/glyphs/quickstart --out quickstart-hub --repo me/quickstart --license mit
                                        the best checkpoint of a run, with its results
  cargo xtask publish checkpoints/glyphs/quickstart --last --half --out last-hub
                                        the last checkpoint, in half the bytes
  cargo xtask publish best_model.tar --config configs/cub/neg-cosine-5shot.toml --out cub-hub
                                        a PyTorch checkpoint: the card says that nothing was
                                        measured
  hf upload me/quickstart quickstart-hub        (or git push) uploads the folder; this command
                                        itself sends nothing
  cargo run --release -p evaluator -- --checkpoint hf://me/quickstart/model.safetensors

The folder holds model.safetensors, config.toml, README.md (the model card), results.json if the run
has one, and .gitattributes. Figures come from results.json alone, which has to be of the same
configuration and epoch. Nothing is overwritten.

Exit status: 0 done, 2 any error.")]
pub struct Publish {
    /// A run folder, or a checkpoint of the trainer or of PyTorch
    #[arg(value_name = "RUN_DIR|CHECKPOINT")]
    source: PathBuf,
    /// The folder to make; nothing may lie there yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Name of the repository on the hub
    #[arg(long, value_name = "OWNER/NAME")]
    repo: Option<String>,
    /// Licence of the weights, as the hub's identifier: mit, cc-by-nc-4.0, …
    #[arg(long, value_name = "ID")]
    license: Option<String>,
    /// Publish a run's last checkpoint instead of its best
    #[arg(long)]
    last: bool,
    /// Store parameters as float16: half the bytes; results may differ by some hundredths of a
    /// percent
    #[arg(long)]
    half: bool,
    /// Settings that override the checkpoint's, for one that carries no dataset
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
}

/// Makes the folder; returns a summary.
///
/// # Errors
/// A folder that is already there, a checkpoint without a configuration or with results of another
/// one, and whatever is wrong with the files.
pub fn publish(arguments: &Publish) -> Result<String, Error> {
    let Publish { out, .. } = arguments;
    if out.symlink_metadata().is_ok() {
        return Err(Error::Exists { path: out.clone(), kind: "folder" });
    }
    arguments.check_names()?;
    let path = arguments.checkpoint();
    let checkpoint = Checkpoint::read(&path)?;
    let mut raw = checkpoint.config.clone();
    if let Some(config) = &arguments.config {
        raw.overlay(&RawConfig::from_file(config)?);
    }
    if !raw.has("dataset") {
        let reason = "carries no configuration, so that the card cannot say what it was trained \
                      on: name one by --config configs/…";
        return Err(Error::checkpoint(&path, reason));
    }
    let config = raw.check()?;
    let model = checkpoint.model(&path, &config, &Device::Cpu)?;
    let epoch = checkpoint.state.epochs;
    let measured = Measured::beside(&path, &config, epoch)?;

    let parent = out.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    let staging = tempfile::Builder::new().prefix(".publishing-").tempdir_in(parent);
    let staging = staging.map_err(Error::io("write to", parent))?;
    let file = |name: &str| staging.path().join(name);
    let weights = file("model.safetensors");
    Checkpoint::write(&weights, &raw.to_toml(), &checkpoint.state, &model)?;
    if arguments.half {
        half::halve(&weights)?;
    }
    let bytes = weights.metadata().map_err(Error::io("read", &weights))?.len();
    write_atomically(&file("config.toml"), raw.to_toml().as_bytes())?;
    // Otherwise git would store the weights as text.
    write_atomically(
        &file(".gitattributes"),
        b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n",
    )?;
    if let Some(measured) = &measured {
        write_atomically(&file("results.json"), measured.json.as_bytes())?;
    }
    let card = Card {
        config: &config,
        epoch,
        measured: measured.as_ref(),
        repo: arguments.repo.as_deref(),
        license: arguments.license.as_deref(),
        half: arguments.half,
        parameters: model.parameters.trainable().values().map(|v| v.elem_count()).sum(),
    };
    write_atomically(&file("README.md"), card.to_markdown().as_bytes())?;
    set_readable(staging.path())?;
    // If another process has made the folder meanwhile, this fails: a rename does not replace a
    // folder that is not empty.
    std::fs::rename(staging.path(), out).map_err(Error::io("write", out))?;

    let figures = match &measured {
        Some(_) => "figures of results.json",
        None => "no figures: no results.json lies beside the checkpoint",
    };
    let roots = [&config.dataset.base, &config.dataset.val, &config.dataset.novel];
    let private = roots.into_iter().find(|split| split.source.root.is_absolute());
    let private = private.map_or_else(String::new, |split| {
        format!(
            "\nnote: config.toml and the weights name {} of this machine",
            split.source.root.display()
        )
    });
    Ok(format!(
        "{}: epoch {epoch}, {}, {figures}{private}\nread README.md there before you upload it",
        out.display(),
        fewshot_fetch::format_bytes(bytes)
    ))
}

impl Publish {
    fn checkpoint(&self) -> PathBuf {
        if !self.source.is_dir() {
            return self.source.clone();
        }
        self.source.join(if self.last { "last.safetensors" } else { "best.safetensors" })
    }

    /// Checks repository and licence: both go into a file that other programs parse.
    fn check_names(&self) -> Result<(), Error> {
        let fail = |name, got: &str, expected| {
            Err(Error::Argument { name, got: got.to_owned(), expected })
        };
        if let Some(repo) = &self.repo {
            let address = format!("hf://{repo}/model.safetensors");
            if repo.split('/').count() != 2 || address.parse::<fewshot_fetch::HubFile>().is_err() {
                return fail("--repo", repo, "OWNER/NAME, as the hub has it");
            }
        }
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        match &self.license {
            Some(id) if id.is_empty() || !id.chars().all(is_plain) => {
                fail("--license", id, "an identifier of the hub, such as mit or cc-by-nc-4.0")
            }
            _ => Ok(()),
        }
    }
}

/// Lets everybody read the folder: temporary folders are private to their owner.
fn set_readable(folder: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let permissions = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder, permissions).map_err(Error::io("write", folder))?;
    }
    let _ = folder;
    Ok(())
}

#[cfg(test)]
mod tests;
