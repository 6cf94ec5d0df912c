//! Where tests compute.

use std::sync::OnceLock;

use candle_core::Device;

/// Where tests compute: on a GPU with the feature `cuda`, if one answers; it is told if not.
pub fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        #[cfg(feature = "cuda")]
        match fewshot_ops::cuda::open(0) {
            Ok(device) => return device,
            Err(e) => eprintln!("skipped on a GPU, run on the CPU: {e}"),
        }
        Device::Cpu
    })
}

/// Whether that is a GPU.
pub fn is_gpu() -> bool {
    device().is_cuda()
}
