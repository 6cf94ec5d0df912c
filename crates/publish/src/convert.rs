//! `convert`: writes the model of a PyTorch checkpoint as safetensors.

use std::path::PathBuf;

use fewshot_experiment::{Checkpoint, Error, RawConfig, device};

/// Arguments of `convert`.
#[derive(clap::Args)]
pub struct Convert {
    /// A file of torch.save, in the legacy or the zip format, or a safetensors file
    input: PathBuf,
    /// The file to write; it must not exist yet
    output: PathBuf,
    /// Settings to store in the new file, such as the dataset
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Settings that override those, such as method.classifier=neg-softmax
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

/// Reads the model of a checkpoint, checks that it is complete, and writes it; returns a summary.
///
/// # Errors
/// An output that exists, a checkpoint that cannot be read or is not of the configured network.
pub fn convert(arguments: &Convert) -> Result<String, Error> {
    let output = &arguments.output;
    let input = &Checkpoint::locate(&arguments.input);
    if output.exists() {
        return Err(Error::Exists { path: output.clone(), kind: "file" });
    }
    let checkpoint = Checkpoint::read(input)?;
    let mut raw = checkpoint.config.clone();
    if let Some(path) = &arguments.config {
        raw.overlay(&RawConfig::from_file(path)?);
    }
    arguments.settings.iter().try_for_each(|setting| raw.set(setting))?;
    let config = raw.check()?;
    let model = checkpoint.model(input, &config, &device(&config)?)?;
    Checkpoint::write(output, &raw.to_toml(), &checkpoint.state, &model)?;
    let method = &config.method;
    let numbers: usize = model.parameters.all().values().map(|v| v.elem_count()).sum();
    Ok(format!(
        "{}: {} with {} at {} px, epoch {}, {:.2} million numbers\nwrote {}",
        input.display(),
        method.backbone,
        method.classifier,
        method.image_size,
        checkpoint.state.epochs,
        numbers as f64 / 1e6,
        output.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn arguments(input: &Path, output: &Path, settings: &[&str]) -> Convert {
        Convert {
            input: input.to_owned(),
            output: output.to_owned(),
            config: None,
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
        }
    }

    #[test]
    fn a_checkpoint_of_pytorch_becomes_one_of_ours() {
        let fixtures =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/parity/checkpoints");
        let folder = tempfile::tempdir().unwrap();
        let (input, output) =
            (fixtures.join("conv4_legacy.tar"), folder.path().join("out.safetensors"));
        let settings = ["dataset.source=glyphs", "method.margin=-0.02"];
        let message = convert(&arguments(&input, &output, &settings)).unwrap();
        assert!(message.contains("conv4 with neg-cosine at 84 px, epoch 7"), "{message}");

        let (before, after) =
            (Checkpoint::read(&input).unwrap(), Checkpoint::read(&output).unwrap());
        assert_eq!(after.config.check().unwrap().method.margin, -0.02);
        assert!(after.config.has("dataset.source") && after.state == before.state);
        assert!(before.tensors.keys().eq(after.tensors.keys()));
        for (name, tensor) in &before.tensors {
            let values = |tensor: &candle_core::Tensor| {
                tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
            };
            assert_eq!(values(tensor), values(&after.tensors[name]), "{name}");
        }

        let refused = convert(&arguments(&input, &output, &[])).unwrap_err().to_string();
        assert!(refused.contains("out.safetensors: it is there already"), "{refused}");
        let other = folder.path().join("other.safetensors");
        let resnet = arguments(&input, &other, &["method.backbone=resnet18"]);
        assert!(convert(&resnet).unwrap_err().to_string().contains("resnet18"));
        assert!(!other.exists());
    }
}
