//! Batch top-k: of all values of a batch the `keep` largest in magnitude stay, the rest become 0.
//!
//! One operation with its gradient behind one call. On a GPU its bodies are the kernels in
//! `shaders/`, which never leave the device; on the CPU they are plain Rust. Both compare bit
//! patterns without the sign, so they agree exactly: values tied with the last one kept are kept
//! too (the result does not depend on the order of rows), and NaN counts as larger than infinity
//! (it reaches the loss, where training reports it, instead of vanishing here).
//!
//! ```text
//! BatchTopK: Bussmann et al. 2024; signed, so the choice is by |value|
//! ```

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    tensor::{Tensor, TensorData},
};
use burn_cubecl::{
    CubeBackend,
    kernel::into_contiguous,
    template::{KernelSource, SourceKernel, SourceTemplate},
    tensor::CubeTensor,
};
use cubecl::{
    CubeCount, CubeDim,
    prelude::KernelId,
    server::{Handle, KernelArguments},
};

/// A float's bits without the sign; they order like the magnitude.
pub(super) const MAGNITUDE: u32 = 0x7fff_ffff;

/// Keeps the `keep` largest |values|, ties with the last one included; zero elsewhere. The
/// gradient flows through what was kept. `values` has any shape; nothing is kept for `keep = 0`.
pub(super) fn keep_largest<const D: usize>(values: Tensor<D>, keep: usize) -> Tensor<D> {
    if keep == 0 || values.dims().iter().product::<usize>() == 0 {
        return values.zeros_like();
    }
    Tensor::from_dispatch(<Dispatch as SelectOps>::keep_largest(values.into_dispatch(), keep))
}

/// The bits of the `keep`-th largest magnitude; `0` (everything passes) from `keep = values.len()`.
pub(super) fn threshold_bits(values: &[f32], keep: usize) -> u32 {
    if keep == 0 {
        return u32::MAX;
    }
    let mut bits: Vec<u32> = values.iter().map(|value| value.to_bits() & MAGNITUDE).collect();
    match bits.len().checked_sub(keep) {
        None | Some(0) => 0,
        Some(rank) => *bits.select_nth_unstable(rank).1,
    }
}

/// The gate on the host: whether `value` reaches the threshold.
pub(super) fn passes(value: f32, threshold_bits: u32) -> bool {
    value.to_bits() & MAGNITUDE >= threshold_bits
}

/// The operation as every backend has to offer it.
#[backend_extension(Cube, Flex, Autodiff)]
pub(super) trait SelectOps: Backend {
    /// `values` with everything but the `keep` largest magnitudes set to zero, `1 ≤ keep`.
    fn keep_largest(values: FloatTensor<Self>, keep: usize) -> FloatTensor<Self>;

    /// `gradient` where `kept` is not zero.
    fn gate_gradient(gradient: FloatTensor<Self>, kept: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl SelectOps for Flex {
    fn keep_largest(values: FloatTensor<Self>, keep: usize) -> FloatTensor<Self> {
        let shape: Vec<usize> = values.layout().shape().iter().copied().collect();
        let mut values = host_values(values);
        let threshold = threshold_bits(&values, keep);
        for value in &mut values {
            if !passes(*value, threshold) {
                *value = 0.0;
            }
        }
        FloatTensor::<Self>::from_data(TensorData::new(values, shape))
    }

    fn gate_gradient(gradient: FloatTensor<Self>, kept: FloatTensor<Self>) -> FloatTensor<Self> {
        let shape: Vec<usize> = kept.layout().shape().iter().copied().collect();
        let mut gradient = host_values(gradient);
        for (gradient, kept) in gradient.iter_mut().zip(host_values(kept)) {
            if kept == 0.0 {
                *gradient = 0.0;
            }
        }
        FloatTensor::<Self>::from_data(TensorData::new(gradient, shape))
    }
}

/// The values of a CPU tensor, row after row.
fn host_values(tensor: FloatTensor<Flex>) -> Vec<f32> {
    let tensor = tensor.to_contiguous();
    match tensor.as_slice::<f32>() {
        Some(values) => values.to_vec(),
        None => tensor.into_data().iter::<f32>().collect(),
    }
}

/// The WGSL kernels; each is described in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Shader {
    Threshold,
    Gate,
    GateGradient,
}

/// Invocations per workgroup in every kernel of `shaders/`.
const WORKGROUP: u32 = 256;
/// Workgroups per dimension that every adapter offers.
const GROUPS: u32 = 65_535;

impl KernelSource for Shader {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(match self {
            Shader::Threshold => include_str!("../../shaders/threshold.wgsl"),
            Shader::Gate => include_str!("../../shaders/gate.wgsl"),
            Shader::GateGradient => include_str!("../../shaders/gate_gradient.wgsl"),
        })
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(*self)
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

impl Shader {
    /// Queues the kernel on the device of `like`, for so many values.
    fn launch(self, like: &CubeTensor, values: u32, buffers: [&Handle; 4]) {
        let groups = match self {
            Shader::Threshold => 1,
            Shader::Gate | Shader::GateGradient => values.div_ceil(WORKGROUP),
        };
        let wide = groups.min(GROUPS);
        let bindings = match self {
            Shader::Threshold => &buffers[..3],
            Shader::Gate | Shader::GateGradient => &buffers[..],
        };
        like.client.launch(
            Box::new(SourceKernel::new(self, CubeDim::new_1d(WORKGROUP))),
            CubeCount::Static(wide, groups.div_ceil(wide), 1),
            KernelArguments::new()
                .with_buffers(bindings.iter().map(|&buffer| buffer.clone().binding()).collect()),
        );
    }
}

/// An unwritten tensor of the same shape on the same device.
fn empty_like(tensor: &CubeTensor) -> CubeTensor {
    CubeTensor::new_contiguous(
        tensor.client.clone(),
        tensor.device.clone(),
        tensor.meta.shape().clone(),
        tensor.client.empty(tensor.meta.shape().num_elements() * size_of::<f32>()),
        tensor.dtype,
    )
}

impl SelectOps for CubeBackend {
    fn keep_largest(values: FloatTensor<Self>, keep: usize) -> FloatTensor<Self> {
        let values = into_contiguous(values);
        let n = values.meta.shape().num_elements();
        let kept = empty_like(&values);
        let threshold = values.client.empty(size_of::<u32>());
        let info = values.client.create_from_slice(bytemuck::cast_slice(&[n as u32, keep.min(n) as u32]));
        let buffers = [&values.handle, &threshold, &info, &kept.handle];
        Shader::Threshold.launch(&values, n as u32, buffers);
        Shader::Gate.launch(&values, n as u32, buffers);
        kept
    }

    fn gate_gradient(gradient: FloatTensor<Self>, kept: FloatTensor<Self>) -> FloatTensor<Self> {
        let (gradient, kept) = (into_contiguous(gradient), into_contiguous(kept));
        let n = kept.meta.shape().num_elements() as u32;
        let out = empty_like(&kept);
        let info = kept.client.create_from_slice(bytemuck::cast_slice(&[n]));
        Shader::GateGradient.launch(&kept, n, [&gradient.handle, &kept.handle, &info, &out.handle]);
        out
    }
}

impl<B: SelectOps, C: CheckpointStrategy> SelectOps for Autodiff<B, C> {
    fn keep_largest(values: FloatTensor<Self>, keep: usize) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct KeepLargest;

        impl<B: SelectOps> Backward<B, 1> for KeepLargest {
            /// What was kept.
            type State = FloatTensor<B>;

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                gradients: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let [parent] = ops.parents;
                let gradient = gradients.consume::<B>(&ops.node);
                if let Some(parent) = parent {
                    gradients.register::<B>(parent.id, B::gate_gradient(gradient, ops.state));
                }
            }
        }

        match KeepLargest.prepare::<C>([values.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let kept = B::keep_largest(values.primitive().clone(), keep);
                prepared.finish(kept.clone(), kept)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::keep_largest(values.into_primitive(), keep)),
        }
    }

    /// The gradient of a gradient is never asked for; this carries none.
    fn gate_gradient(gradient: FloatTensor<Self>, kept: FloatTensor<Self>) -> FloatTensor<Self> {
        FloatTensor::<Self>::new(B::gate_gradient(gradient.into_primitive(), kept.into_primitive()))
    }
}
