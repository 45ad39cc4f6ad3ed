//! Which device computes, and why.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::OnceLock,
};

use burn::tensor::{
    Device, DeviceKind, Tensor,
    wgpu::{WgpuBackend, wgpu},
};
use serde::{Deserialize, Serialize};

use super::{SaeError, gpu_engine, select};

/// `--device`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceChoice {
    /// A real GPU where there is one, else the CPU.
    #[default]
    Auto,
    /// A GPU; software adapters count, none is an error.
    Gpu,
    /// The CPU.
    Cpu,
}

/// Where the autoencoder is trained.
#[derive(Debug, Clone)]
pub struct Compute {
    /// Burn's handle, without autodiff.
    pub device: Device,
    /// `cpu` or `wgpu`.
    pub backend: &'static str,
    /// Name of the adapter and its driver's interface; `cpu` on the CPU.
    pub adapter: String,
    /// One line for the user: what is used, and why.
    pub note: String,
    /// The size in bytes that a buffer can have, where this is a GPU on which our own training kernels proved to
    /// compute what they should; `None` elsewhere: then training runs in Burn's operations.
    pub largest: Option<usize>,
}

impl Compute {
    /// Whether a graphics adapter, real or software, computes.
    pub fn is_gpu(&self) -> bool {
        self.backend == "wgpu"
    }

    /// The CPU, which is always there.
    pub fn cpu() -> Self {
        Self {
            device: Device::flex(),
            backend: "cpu",
            adapter: "cpu".into(),
            note: "device: CPU, as asked".into(),
            largest: None,
        }
    }
}

/// Chooses the device; looks for adapters at most once per process and opens at most one.
///
/// A software rasteriser (llvmpipe, SwiftShader, WARP) takes tens of times as long as the CPU
/// backend, so `auto` passes it by. An adapter has to compute a small selection correctly before
/// it is used.
///
/// # Errors
/// With [`DeviceChoice::Gpu`] only: [`SaeError::NoGpu`], [`SaeError::GpuUnusable`].
pub fn choose(choice: DeviceChoice) -> Result<Compute, SaeError> {
    let cpu = |why: String| Compute { note: format!("device: CPU, because {why}"), ..Compute::cpu() };
    // Drivers are not even asked where nobody wants them, or where there is no hardware they could
    // drive: loading them takes time, and some print to the terminal on machines without a display.
    let ask = match choice {
        DeviceChoice::Cpu => false,
        DeviceChoice::Auto => hardware(),
        DeviceChoice::Gpu => true,
    };
    let found = if ask { adapter() } else { None };
    match (choice, found) {
        (DeviceChoice::Cpu, _) => Ok(Compute::cpu()),
        (DeviceChoice::Auto, None) if !ask => Ok(cpu("no graphics hardware was found".into())),
        (DeviceChoice::Auto, None) => Ok(cpu("no graphics adapter was found".into())),
        (DeviceChoice::Auto, Some(found)) if found.software => {
            Ok(cpu(format!("{} is a software adapter and slower", found.name)))
        }
        (DeviceChoice::Auto, Some(found)) => match open(found) {
            Ok(device) => Ok(gpu(found, device)),
            Err(reason) => Ok(cpu(format!("{} cannot be used: {reason}", found.name))),
        },
        (DeviceChoice::Gpu, None) => Err(SaeError::NoGpu),
        (DeviceChoice::Gpu, Some(found)) => match open(found) {
            Ok(device) => Ok(gpu(found, device)),
            Err(reason) => Err(SaeError::GpuUnusable { adapter: found.name.clone(), reason: reason.clone() }),
        },
    }
}

/// Whether the system shows any graphics hardware. Only Linux lets us know beforehand.
fn hardware() -> bool {
    !cfg!(target_os = "linux")
        || ["/dev/dri", "/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg", "/dev/kgsl-3d0", "/dev/mali0"]
            .iter()
            .any(|path| std::path::Path::new(path).exists())
}

fn gpu(found: &'static Adapter, device: &Device) -> Compute {
    let warning = if found.software { "; a software adapter, slower than `--device cpu`" } else { "" };
    Compute {
        device: device.clone(),
        backend: "wgpu",
        adapter: found.name.clone(),
        note: format!("device: {}{warning}", found.name),
        largest: trusted(found, device).then_some(found.largest),
    }
}

/// An adapter as the driver describes it.
#[derive(Debug)]
struct Adapter {
    name: String,
    api: WgpuBackend,
    kind: DeviceKind,
    software: bool,
    /// Bytes of the largest buffer that a kernel can be given.
    largest: usize,
}

/// The best adapter of this machine.
fn adapter() -> Option<&'static Adapter> {
    static ADAPTER: OnceLock<Option<Adapter>> = OnceLock::new();
    ADAPTER.get_or_init(|| catch_unwind(find).unwrap_or(None)).as_ref()
}

/// Asks the drivers. OpenGL is left out: asking it can print to the terminal, and what it could
/// add is hardware too old for compute shaders.
fn find() -> Option<Adapter> {
    let interfaces = [
        (WgpuBackend::Vulkan, wgpu::Backends::VULKAN),
        (WgpuBackend::Metal, wgpu::Backends::METAL),
        (WgpuBackend::Dx12, wgpu::Backends::DX12),
    ];
    let mut best: Option<(u8, Adapter)> = None;
    for (api, backends) in interfaces {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends,
            flags: wgpu::InstanceFlags::empty(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let (mut discrete, mut integrated, mut virtual_gpus) = (0, 0, 0);
        let count = |seen: &mut usize| {
            *seen += 1;
            *seen - 1
        };
        for adapter in cubecl::future::block_on(instance.enumerate_adapters(backends)) {
            let info = adapter.get_info();
            let (rank, kind) = match info.device_type {
                wgpu::DeviceType::DiscreteGpu => (4, DeviceKind::DiscreteGpu(count(&mut discrete))),
                wgpu::DeviceType::IntegratedGpu => (3, DeviceKind::IntegratedGpu(count(&mut integrated))),
                wgpu::DeviceType::VirtualGpu => (2, DeviceKind::VirtualGpu(count(&mut virtual_gpus))),
                wgpu::DeviceType::Cpu => (1, DeviceKind::Cpu),
                wgpu::DeviceType::Other => continue,
            };
            // A software rasteriser behind a virtual GPU still names itself.
            let named = info.name.to_lowercase();
            let software =
                rank == 1 || ["llvmpipe", "lavapipe", "swiftshader"].iter().any(|name| named.contains(name));
            let rank = if software { 1 } else { rank };
            if best.as_ref().is_none_or(|(best, _)| rank > *best) {
                let name = format!("{} ({})", info.name, info.backend);
                let limits = adapter.limits();
                let largest = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
                let largest = usize::try_from(largest).unwrap_or(usize::MAX);
                best = Some((rank, Adapter { name, api, kind, software, largest }));
            }
        }
    }
    best.map(|(_, adapter)| adapter)
}

/// Whether our own training kernels compute on this adapter what the CPU does: a few steps on a small problem, with
/// dead features. Drivers have faults, and a wrong step would show in nothing but worse features.
fn trusted(adapter: &'static Adapter, device: &Device) -> bool {
    static TRUSTED: OnceLock<bool> = OnceLock::new();
    *TRUSTED.get_or_init(|| {
        let proved =
            catch_unwind(AssertUnwindSafe(|| gpu_engine::agrees_with_the_cpu(device, adapter.largest)));
        matches!(proved, Ok(Ok(true)))
    })
}

/// Opens the adapter and lets it prove itself; the reason where it cannot.
fn open(adapter: &'static Adapter) -> Result<&'static Device, &'static String> {
    static DEVICE: OnceLock<Result<Device, String>> = OnceLock::new();
    DEVICE
        .get_or_init(|| {
            let opened = catch_unwind(AssertUnwindSafe(|| {
                let device = Device::wgpu_options()
                    .device_kind(adapter.kind.clone())
                    .graphics_api(adapter.api)
                    .init()
                    .map_err(|error| error.to_string())?;
                let values = Tensor::<1>::from_floats([0.5, -3.0, 2.0, -0.1], &device);
                let kept = select::keep_largest(values, 2).try_into_data();
                let kept = kept.map_err(|error| format!("{error:?}"))?;
                if kept.iter::<f32>().eq([0.0, -3.0, 2.0, 0.0]) {
                    Ok(device)
                } else {
                    Err("it computes wrong results".to_string())
                }
            }));
            opened.unwrap_or_else(|panic| Err(panic_text(&*panic)))
        })
        .as_ref()
}

/// What a caught panic said.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown failure").to_string()
}
