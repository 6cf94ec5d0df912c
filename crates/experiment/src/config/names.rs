//! The names of settings that users of other programs expect.

/// Usual names, without underscores, and the key that means the same here.
const USUAL: &[(&[&str], &str)] = &[
    (&["lr", "learningrate", "baselr", "initlr", "lr0"], "train.learning_rate"),
    (&["wd", "weightdecay", "l2", "decay"], "train.weight_decay"),
    (&["bs", "batch", "batchsize", "trainbatchsize"], "train.batch_size"),
    (&["epoch", "nepochs", "numepochs", "maxepochs", "stopepoch"], "train.epochs"),
    (&["warmup", "warmupepochs"], "train.warmup_epochs"),
    (&["optim", "opt"], "train.optimizer"),
    (&["scheduler", "lrscheduler", "lrschedule"], "train.schedule"),
    (&["logfreq", "logevery", "loginterval", "printfreq"], "train.print_freq"),
    (&["savefreq", "saveevery", "saveinterval", "checkpointfreq"], "train.save_freq"),
    (&["syncbn"], "train.sync_batch_norm"),
    (&["arch", "architecture", "model", "network", "net", "encoder"], "method.backbone"),
    (&["loss", "criterion", "metric", "lossfn"], "method.classifier"),
    (&["temperature", "temp", "scalefactor"], "method.scale"),
    (&["imgsize", "imsize", "imagesize", "inputsize", "resolution"], "method.image_size"),
    (&["numclass", "numclasses", "nclasses", "numoutputs"], "method.outputs"),
    (&["dropout", "droprate"], "method.drop_rate"),
    (&["nway", "ways", "numways", "trainnway", "testnway"], "test.way"),
    (&["nshot", "kshot", "nshots", "numshots", "nsupport", "support"], "test.shots"),
    (&["nquery", "queries", "numquery", "numqueries"], "test.query"),
    (&["nepisodes", "numepisode", "numepisodes", "tasks", "numtasks"], "test.episodes"),
    (&["iter", "iters", "iterations"], "test.passes"),
    (&["evalfreq", "valfreq", "validateevery", "evalevery"], "val.freq"),
    (&["workers", "numworkers", "nworkers", "numthreads", "jobs"], "loader.threads"),
    (&["gpu", "cuda", "gpus", "accelerator"], "device"),
    (&["amp", "fp16", "bf16", "dtype", "mixedprecision"], "precision"),
    (
        &["data", "datadir", "datapath", "datasetpath", "dataroot", "path", "dir", "folder"],
        "dataset.root",
    ),
    (&["dataset", "datasettype", "type"], "dataset.source"),
    (&["rngseed", "randomseed", "manualseed"], "seed"),
    (&["hflip", "mirror"], "augment.flip"),
    (&["colorjitter"], "augment.jitter"),
    (&["out", "output", "outdir", "outputdir", "savedir", "logdir", "rundir"], "--run-dir DIR"),
];

/// The key, or the option, that a usual name means; the last part of `key` counts.
pub(super) fn meant_by(key: &str) -> Option<&'static str> {
    let name = key.rsplit('.').next().unwrap_or(key).to_lowercase().replace(['_', '-'], "");
    USUAL.iter().find(|(names, _)| names.contains(&&*name)).map(|&(_, key)| key)
}

/// What was probably meant by an argument that is neither an option nor `key=value`; `is_key` tells
/// the keys that there are.
pub(super) fn explain(argument: &str, is_key: impl Fn(&str) -> bool) -> String {
    let path = std::path::Path::new(argument);
    let lower = argument.to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    if is_key(argument) {
        return format!("a value is missing, as in {argument}=VALUE");
    }
    if lower.starts_with("hf:") || ends(&[".safetensors", ".pth", ".pt", ".ckpt"]) {
        return format!(
            "a checkpoint is evaluated by `evaluator --checkpoint {argument}`, and trained on by \
             `trainer --resume {argument}`"
        );
    }
    if ends(&[".toml"]) {
        return format!("a configuration is named by --config {argument}");
    }
    if path.exists() || argument.contains(['/', '\\']) || argument.starts_with('.') {
        return format!(
            "images in folders are named by dataset.source=folders dataset.root={argument}"
        );
    }
    match &*lower {
        "train" | "fit" | "run" | "start" => {
            "`trainer` trains without being told to: leave it out".to_owned()
        }
        "predict" | "classify" | "infer" | "inference" => {
            "there is no command that classifies single images; `evaluator --checkpoint PATH` \
             measures accuracy on episodes, and the crates do the rest (README.md, \"As a library\")"
                .to_owned()
        }
        "eval" | "evaluate" | "test" | "validate" | "val" => {
            "`evaluator --checkpoint PATH` evaluates".to_owned()
        }
        "resume" | "continue" => "`trainer --resume last` goes on with a run".to_owned(),
        "help" | "version" | "quiet" | "config" | "name" => format!("options have two hyphens: --{lower}"),
        "download" | "prepare" | "verify" | "pack" | "publish" | "convert" | "reproduce" => {
            format!("`cargo xtask` has that command: cargo xtask {lower} --help")
        }
        _ => match meant_by(argument) {
            Some(key) => format!("settings are written as key=value: {key}=…"),
            None => "settings are written as key=value, as in train.epochs=10; --help lists the options"
                .to_owned(),
        },
    }
}
