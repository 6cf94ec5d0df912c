//! Gradients averaged over processes, each with a GPU of its own: at most two.
#![cfg(feature = "nccl")]

use std::process::{Child, Command, Stdio};

use candle_core::Tensor;
use fewshot_ops::cuda::nccl::{Communicator, UniqueId, unique_id};

const RANK: &str = "NCCL_TEST_RANK";
const WORLD_SIZE: &str = "NCCL_TEST_COUNT";
const ID: &str = "NCCL_TEST_ID";

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs one rank: all its numbers are its rank + 1, and in the end the mean over ranks.
fn run_rank(rank: usize, world_size: usize, id: &UniqueId) {
    let device = fewshot_ops::cuda::open(rank).unwrap();
    let mut communicator = Communicator::new(&device, rank, world_size, id).unwrap();
    // Small gradients, and one that fills a bucket alone.
    let gradients: Vec<Tensor> = [3, 1, 7 << 20, 5]
        .into_iter()
        .map(|length| Tensor::from_vec(vec![rank as f32 + 1.0; length], length, &device).unwrap())
        .collect();
    for round in 0..2 {
        gradients[..3].iter().for_each(|gradient| communicator.average(gradient).unwrap());
        // The communicator has not seen the last one yet.
        communicator.finish(&gradients).unwrap();
        let mean = (world_size as f32 + 1.0) / 2.0;
        for gradient in &gradients {
            let values = gradient.to_vec1::<f32>().unwrap();
            assert!(values.iter().all(|&v| v == mean), "round {round}: {:?}", &values[..1]);
        }
    }
    let is_last = rank + 1 == world_size;
    assert!(communicator.any(is_last).unwrap(), "one rank's flag is enough");
    assert!(!communicator.any(false).unwrap());
}

#[test]
fn gradients_become_their_mean() {
    if let (Some(rank), Some(size), Some(id)) = (variable(RANK), variable(WORLD_SIZE), variable(ID))
    {
        let bytes: Vec<u8> = id.split(',').map(|byte| byte.parse().unwrap()).collect();
        return run_rank(rank.parse().unwrap(), size.parse().unwrap(), &bytes.try_into().unwrap());
    }
    let gpus = (0..2).take_while(|&gpu| fewshot_ops::cuda::open(gpu).is_ok()).count();
    if gpus == 0 {
        return println!("skipped: no GPU");
    }
    println!("{gpus} ranks");
    let id: Vec<String> = unique_id().unwrap().iter().map(u8::to_string).collect();
    let start = |rank: usize| -> Child {
        Command::new(std::env::current_exe().unwrap())
            .env(RANK, rank.to_string())
            .env(WORLD_SIZE, gpus.to_string())
            .env(ID, id.join(","))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let ranks: Vec<Child> = (0..gpus).map(start).collect();
    for child in ranks {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
