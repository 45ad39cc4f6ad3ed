//! The loss that training lowers.
//!
//! With x̂_P the reconstruction from the first P features, the loss is the mean over the prefixes P
//! of `‖x − x̂_P‖² / mean ‖x‖²`. It is computed without ever forming x̂: for unit-norm or any other
//! decoder W, `C = x W` and `G = Wᵀ W`,
//!
//! ```text
//! ‖x − x̂_P‖² = ‖x‖² − 2 Σ_j z_j C_j + Σ_ij z_i z_j G_ij          i, j < P
//! mean over P = ‖x‖² − 2 Σ_j c_j z_j C_j + Σ_ij min(c_i, c_j) z_i z_j G_ij
//! ```
//!
//! where c_j is the share of the prefixes that hold feature j. All prefixes together so cost two
//! products with the batch, and everything element-wise is M wide instead of D.
//!
//! The denominator is the training rows' mean square (1 after scaling), not the batch's variance:
//! mirrored data has mean zero, and a batch of one row then has a loss like any other.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData, activation::relu},
};

use super::select::keep_largest;

/// The weights that are trained, both `[dimensions, features]`.
#[derive(Module, Debug)]
pub(super) struct Network {
    /// `pre = x · encoder`.
    pub(super) encoder: Param<Tensor<2>>,
    /// `x̂ = z · decoderᵀ`, columns of norm one.
    pub(super) decoder: Param<Tensor<2>>,
    /// `[1, features]`, with [`Activation::Relu`](super::Activation::Relu) only: `pre = max(0, x · encoder + bias)`.
    pub(super) bias: Option<Param<Tensor<2>>>,
}

impl Network {
    /// Encoder and decoder both set to `decoder`, row-major `[dimensions, features]`.
    pub(super) fn tied(decoder: Vec<f32>, features: usize, device: &Device) -> Self {
        let dimensions = decoder.len() / features.max(1);
        let data = TensorData::new(decoder, [dimensions, features]);
        Self {
            encoder: Param::from_tensor(Tensor::from_data(data.clone(), device)),
            decoder: Param::from_tensor(Tensor::from_data(data, device)),
            bias: None,
        }
    }

    /// The same with a bias of zero and ReLU.
    pub(super) fn with_relu(mut self, device: &Device) -> Self {
        let [_, features] = self.encoder.val().dims();
        self.bias = Some(Param::from_tensor(Tensor::zeros([1, features], device)));
        self
    }
}

/// Which features are dead, for the auxiliary loss.
pub(super) struct Dead {
    /// 1 where dead, `[1, features]`.
    pub(super) mask: Tensor<2>,
    /// How many of them may be active in an average row.
    pub(super) active: usize,
}

/// What is constant over the training.
pub(super) struct Objective {
    active: usize,
    auxiliary_weight: f64,
    /// c_j, `[1, features]`.
    share: Tensor<2>,
    /// `min(c_i, c_j)`, `[features, features]`.
    joint_share: Tensor<2>,
}

impl Objective {
    /// For ascending `prefixes`, the last of which is the number of features.
    pub(super) fn new(prefixes: &[usize], active: usize, auxiliary_weight: f64, device: &Device) -> Self {
        let share = shares(prefixes);
        let features = share.len();
        let joint: Vec<f32> = share.iter().flat_map(|&a| share.iter().map(move |&b| a.min(b))).collect();
        Self {
            active,
            auxiliary_weight,
            share: Tensor::from_data(TensorData::new(share, [1, features]), device),
            joint_share: Tensor::from_data(TensorData::new(joint, [features, features]), device),
        }
    }

    /// Loss `[1]` and what every feature did, `[rows, features]` (without gradient), for a batch
    /// `x` `[rows, dimensions]` whose squares sum to `square_sum`.
    pub(super) fn loss(
        &self,
        network: &Network,
        x: Tensor<2>,
        square_sum: f64,
        dead: Option<&Dead>,
    ) -> (Tensor<1>, Tensor<2>) {
        let [rows, _] = x.dims();
        let decoder = network.decoder.val();
        let pre = x.clone().matmul(network.encoder.val());
        let pre = match &network.bias {
            Some(bias) => relu(pre + bias.val()),
            None => pre,
        };
        let along = x.matmul(decoder.clone());
        let gram = decoder.clone().transpose().matmul(decoder.clone());

        let z = keep_largest(pre.clone(), rows * self.active);
        let linear = z.clone() * along.clone() * self.share.clone();
        let square = z.clone().matmul(gram.clone() * self.joint_share.clone()) * z.clone();
        let mut loss = ((square - linear * 2.0).sum() + square_sum) / rows as f64;

        let z = z.inner();
        if let Some(dead) = dead {
            // Dead features learn to reconstruct what the others leave over, e = x − z Wᵀ. That e
            // is a constant here: it is not to grow so that they have something to do.
            let fixed = decoder.clone().inner();
            let known = z.clone().matmul(fixed.clone().transpose().matmul(fixed.clone()));
            let left = (z.clone() * (known - along.clone().inner() * 2.0)).sum() + square_sum;
            let left = Tensor::from_inner(left.clamp_min(f32::MIN_POSITIVE));

            let overlap = Tensor::from_inner(fixed.transpose()).matmul(decoder);
            let along_rest = along - Tensor::from_inner(z.clone()).matmul(overlap);
            let helped = keep_largest(pre * dead.mask.clone(), rows * dead.active);
            let square = helped.clone().matmul(gram) * helped.clone();
            let rest = (square - helped * along_rest * 2.0).sum();
            loss = loss + (rest / left + 1.0) * self.auxiliary_weight;
        }
        (loss, z)
    }
}

/// c_j: the share of the prefixes that hold feature j.
fn shares(prefixes: &[usize]) -> Vec<f32> {
    let features = prefixes.last().copied().unwrap_or(0);
    (0..features)
        .map(|feature| {
            let holding = prefixes.iter().filter(|&&prefix| feature < prefix).count();
            holding as f32 / prefixes.len() as f32
        })
        .collect()
}
