//! Networks for ImageNet against torchvision and timm: the `imagenet` files of the parity fixtures.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use fewshot_data::{Interpolation, Preprocessing};
use fewshot_experiment::Checkpoint;
use fewshot_models::Pass;
use fewshot_parity::{Inputs, check, deviation, files, integers, numbers};

#[test]
fn parity_networks() {
    let folder = tempfile::tempdir().unwrap();
    for (_, file) in files("imagenet") {
        let inputs = Inputs::of(&file);
        let side = file["side"].as_u64().unwrap() as usize;
        let images = inputs.images("imagenet/images", 2 * 3 * side * side);
        let images = Tensor::from_vec(images, (2, 3, side, side), &Device::Cpu).unwrap();
        for network in file["networks"].as_array().unwrap() {
            let name = network["name"].as_str().unwrap();
            let tensor = |(key, shape): (&String, &serde_json::Value)| {
                let shape = integers(shape);
                let values = inputs.fill(&format!("imagenet/{name}/{key}"), &shape);
                (key.clone(), Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
            };
            let state: BTreeMap<_, _> =
                network["shapes"].as_object().unwrap().iter().map(tensor).collect();
            let path = folder.path().join("model.safetensors");
            candle_core::safetensors::save(&state.into_iter().collect(), &path).unwrap();

            let checkpoint = Checkpoint::read(&path).unwrap();
            let config = checkpoint.config.check().unwrap();
            assert_eq!(config.method.backbone.name(), name);
            let expected = Preprocessing::ImageNet {
                crop_percent: 87.5,
                interpolation: Interpolation::Bilinear,
            };
            assert_eq!((config.method.preprocessing, config.method.image_size), (expected, 224));
            let model = checkpoint.model(&path, &config, &Device::Cpu).unwrap();
            for model in [model.frozen(&config, &Device::Cpu).unwrap(), model] {
                let features = model.backbone.forward(&images, Pass::Eval).unwrap();
                let scores = model.head().unwrap().scores(&features).unwrap();
                for (what, tensor, every) in [("features", features, 16), ("scores", scores, 50)] {
                    let got = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    let got: Vec<f64> = got.into_iter().step_by(every).map(f64::from).collect();
                    let deviation = deviation(&got, &numbers(&network[what]));
                    let by = network["library"].as_str().unwrap();
                    check(&format!("{name} of {by}, {what}"), deviation, 1e-4);
                }
            }
        }
    }
}
