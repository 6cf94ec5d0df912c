//! What trials start from: small images in every form, and runs that nothing disturbed.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fewshot_glyphs::{GlyphOptions, Glyphs};

use crate::process::{Programs, Running, set_up};

/// Settings of a training that takes a second and still has several steps an epoch, several epochs and
/// a best checkpoint that is not the last.
pub const SETTINGS: &[&str] = &[
    "dataset.images_per_class=12",
    "method.backbone=conv4",
    "method.image_size=16",
    "train.batch_size=32",
    "train.epochs=4",
    "val.freq=1",
    "val.episodes=5",
    "test.episodes=10",
    "test.query=4",
    "test.pixel_baseline=false",
];

/// The files of a run that tell how it went, none of which depends on time.
const FILES: [&str; 4] = ["metrics.jsonl", "last.safetensors", "best.safetensors", "results.json"];

/// How long a process may take that takes a second undisturbed.
pub const LIMIT: Duration = Duration::from_secs(120);

/// What trials start from.
pub struct Scene {
    /// The programs.
    pub programs: Programs,
    /// How long an undisturbed run takes.
    pub duration: Duration,
    /// What undisturbed runs of seeds 0 and 1 left.
    undisturbed: [Outcome; 2],
    folder: PathBuf,
}

/// What a run left.
#[derive(PartialEq)]
pub struct Outcome([Vec<u8>; FILES.len()]);

impl Outcome {
    /// Reads the files of a run folder.
    ///
    /// # Errors
    /// One is not there.
    pub fn of(run: &Path) -> Result<Self, String> {
        let mut files = FILES.map(|_| Vec::new());
        for (file, name) in files.iter_mut().zip(FILES) {
            let path = run.join(name);
            *file = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Ok(Self(files))
    }
}

impl Scene {
    /// Draws images and trains undisturbed.
    ///
    /// # Errors
    /// Files cannot be written; a run does not succeed, or differs from itself.
    pub fn new(folder: &Path, programs: &Programs) -> Result<Self, String> {
        let scene = folder.join("scene");
        draw_images(&scene.join("images")).map_err(|e| format!("{}: {e}", scene.display()))?;
        let mut duration = Duration::ZERO;
        let mut train = |name: &str, seed: &str| {
            let run = scene.join(name);
            let mut command = Command::new(&programs.trainer);
            command.arg("--run-dir").arg(&run).args(SETTINGS).arg(seed);
            set_up(&mut command);
            let ended = Running::start(&mut command)?.wait(5 * LIMIT)?;
            ended.succeeded().map_err(|e| format!("an undisturbed run: {e}"))?;
            duration = ended.took;
            Outcome::of(&run)
        };
        let undisturbed = [train("run", "seed=0")?, train("other", "seed=1")?];
        if train("again", "seed=0")? != undisturbed[0] || undisturbed[0] == undisturbed[1] {
            return Err("undisturbed runs of one seed differ, or of two do not".to_owned());
        }
        Ok(Self { programs: programs.clone(), duration, undisturbed, folder: scene })
    }

    /// An undisturbed run of seed 0.
    pub fn run(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// Images as `folder`, `images.tar`, `images.zip` and `lists`.
    pub fn images(&self) -> PathBuf {
        self.folder.join("images")
    }

    /// Compares a run with an undisturbed one of a seed.
    ///
    /// # Errors
    /// Which file is not there, or differs.
    pub fn compare(&self, run: &Path, seed: usize) -> Result<(), String> {
        let outcome = Outcome::of(run)?;
        let files = FILES.iter().zip(outcome.0.iter().zip(&self.undisturbed[seed].0));
        let differing: Vec<_> = files.filter(|(_, (a, b))| a != b).map(|(name, _)| *name).collect();
        match differing.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{} of {} differs from an undisturbed run's",
                differing.join(" and "),
                run.display()
            )),
        }
    }
}

/// Copies a folder, with what is in it.
///
/// # Errors
/// As of the file system.
pub fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => drop(fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}

/// Writes the same few images as class folders, as archives of them, and as lists in JSON.
fn draw_images(root: &Path) -> std::io::Result<()> {
    let glyphs = Glyphs::new(&GlyphOptions { size: 20, ..GlyphOptions::default() });
    let mut files = Vec::new();
    for (s, split) in ["base", "val", "novel"].into_iter().enumerate() {
        let (mut names, mut labels) = (Vec::new(), Vec::new());
        for class in 0..4_u32 {
            for index in 0..6 {
                let image = glyphs.draw(4 * s as u32 + class, index);
                let (ending, bytes) = encode(&image, index).map_err(std::io::Error::other)?;
                let path = format!("{split}/class{class}/{index}.{ending}");
                names.push(format!("../folder/{path}"));
                labels.push(class);
                files.push((path, bytes));
            }
        }
        let classes: Vec<_> = (0..4).map(|class| format!("class{class}")).collect();
        let list = serde_json::json!({
            "label_names": classes, "image_names": names, "image_labels": labels,
        });
        fs::create_dir_all(root.join("lists"))?;
        fs::write(root.join("lists").join(format!("{split}.json")), list.to_string())?;
    }
    let mut tar = tar::Builder::new(Vec::new());
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in files {
        let file = root.join("folder").join(&path);
        fs::create_dir_all(file.parent().unwrap_or(root))?;
        fs::write(file, &bytes)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, &path, &bytes[..])?;
        zip.start_file(path, zip::write::SimpleFileOptions::default())?;
        zip.write_all(&bytes)?;
    }
    fs::write(root.join("images.tar"), tar.into_inner()?)?;
    fs::write(root.join("images.zip"), zip.finish()?.into_inner())
}

/// The image as one of three kinds of file.
fn encode(image: &image::RgbImage, index: u64) -> Result<(&'static str, Vec<u8>), String> {
    let mut bytes = Vec::new();
    let (width, height) = (image.width(), image.height());
    let ending = match index % 3 {
        0 => {
            let sides = (width as u16, height as u16);
            let encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
            let kind = jpeg_encoder::ColorType::Rgb;
            encoder.encode(image, sides.0, sides.1, kind).map_err(|e| e.to_string())?;
            return Ok(("jpg", bytes));
        }
        1 => ("png", image::ImageFormat::Png),
        _ => ("bmp", image::ImageFormat::Bmp),
    };
    image.write_to(&mut Cursor::new(&mut bytes), ending.1).map_err(|e| e.to_string())?;
    Ok((ending.0, bytes))
}
