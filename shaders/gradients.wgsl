// Fourth kernel of a training step: both gradients of one feature, a workgroup each.
//
//   x, plan, state, decoder, pre, planes, rows   see residuals.wgsl
//   gradients  out: [M, 2, D] by encoder and by decoder, then [M] all squares' sum, then [M] by bias (ReLU, plan[11])
//
// With n rows and P prefixes: ∂/∂E_m = 2/(nP) Σ_r slope · x_r and ∂/∂W_m = 2/(nP) Σ_r z · Σ_{p ≥ block(m)} s_p; what dead features
// do for the rest counts with 2·weight/‖rest‖² instead. The decoder's is made orthogonal to its row: only that part
// changes anything. Also here: batches since the feature fired. The rows in which it is active stand in a mask first; B ≤ 4096.
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> plan: array<u32>;
@group(0) @binding(2) var<storage, read_write> state: array<u32>;
@group(0) @binding(3) var<storage, read_write> decoder: array<f32>;
@group(0) @binding(4) var<storage, read_write> pre: array<f32>;
@group(0) @binding(5) var<storage, read_write> planes: array<f32>;
@group(0) @binding(6) var<storage, read_write> rows: array<f32>;
@group(0) @binding(7) var<storage, read_write> gradients: array<f32>;

const MAGNITUDE: u32 = 0x7fffffffu;

var<workgroup> parts: array<f32, 256>;
var<workgroup> fired: atomic<u32>;
// Bit r: the feature is active in row r; the same for its help while it is dead.
var<workgroup> active_ones: array<atomic<u32>, 128>;
var<workgroup> helping_ones: array<atomic<u32>, 128>;

fn summed(worker: u32, value: f32) -> f32 {
    workgroupBarrier();
    parts[worker] = value;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if worker < half {
            parts[worker] += parts[worker + half];
        }
        workgroupBarrier();
    }
    return parts[0];
}

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) worker: u32) {
    let step = state[1];
    let dimensions = plan[0];
    let features = plan[1];
    let prefixes = plan[3];
    let most = plan[7];
    let first = plan[plan[9] + 4u * step];
    let count = plan[plan[9] + 4u * step + 1u];
    let threshold = state[2];
    let threshold_helped = state[3];
    let m = group.x;
    let helped = state[4] > 0u && state[8u + m] >= plan[4];
    var block = 0u;
    while m >= plan[16u + block] {
        block++;
    }
    if worker == 0u {
        atomicStore(&fired, 0u);
    }
    if worker < 128u {
        atomicStore(&active_ones[worker], 0u);
        atomicStore(&helping_ones[worker], 0u);
    }

    var left = 0.0;
    for (var r = worker; r < count; r += 256u) {
        left += rows[2u * most * features + 3u * r + 1u];
    }
    left = max(summed(worker, left), 1.1754944e-38);
    for (var r = worker; r < count; r += 256u) {
        let bits = bitcast<u32>(pre[r * features + m]) & MAGNITUDE;
        if bits >= threshold && bits != 0u {
            atomicStore(&fired, 1u);
            atomicOr(&active_ones[r / 32u], 1u << (r % 32u));
        }
        if helped && bits >= threshold_helped && bits != 0u {
            atomicOr(&helping_ones[r / 32u], 1u << (r % 32u));
        }
    }
    workgroupBarrier();
    let words = (count + 31u) / 32u;
    let scale = 2.0 / (f32(count) * f32(prefixes));
    let scale_helped = 2.0 * bitcast<f32>(plan[8]) / left;

    let by_encoder = 2u * m * dimensions;
    let by_decoder = by_encoder + dimensions;
    var radial = 0.0;
    for (var d = worker; d < dimensions; d += 256u) {
        var encoder_sum = 0.0;
        var decoder_sum = 0.0;
        for (var word = 0u; word < words; word++) {
            let ones = atomicLoad(&active_ones[word]);
            let helpers = atomicLoad(&helping_ones[word]);
            var either = ones | helpers;
            while either != 0u {
                let bit = firstTrailingBit(either);
                either &= either - 1u;
                let r = 32u * word + bit;
                let value = pre[r * features + m];
                let plane = r * (prefixes + 1u) * dimensions + d;
                var slope = 0.0;
                if ((ones >> bit) & 1u) != 0u {
                    slope += scale * rows[r * features + m];
                    for (var p = block; p < prefixes; p++) {
                        decoder_sum += scale * value * planes[plane + p * dimensions];
                    }
                }
                if ((helpers >> bit) & 1u) != 0u {
                    slope += scale_helped * rows[(most + r) * features + m];
                    decoder_sum += scale_helped * value * planes[plane + prefixes * dimensions];
                }
                encoder_sum += slope * x[plan[plan[10] + first + r] * dimensions + d];
            }
        }
        gradients[by_encoder + d] = encoder_sum;
        gradients[by_decoder + d] = decoder_sum;
        radial += decoder_sum * decoder[m * dimensions + d];
    }
    radial = summed(worker, radial);
    var square = 0.0;
    for (var d = worker; d < dimensions; d += 256u) {
        let tangential = gradients[by_decoder + d] - radial * decoder[m * dimensions + d];
        gradients[by_decoder + d] = tangential;
        let other = gradients[by_encoder + d];
        square += tangential * tangential + other * other;
    }
    square = summed(worker, square);
    // By bias: the slopes alone.
    var by_bias = 0.0;
    if plan[11] != 0u {
        for (var word = worker; word < words; word += 256u) {
            let ones = atomicLoad(&active_ones[word]);
            let helpers = atomicLoad(&helping_ones[word]);
            var either = ones | helpers;
            while either != 0u {
                let bit = firstTrailingBit(either);
                either &= either - 1u;
                let r = 32u * word + bit;
                if ((ones >> bit) & 1u) != 0u {
                    by_bias += scale * rows[r * features + m];
                }
                if ((helpers >> bit) & 1u) != 0u {
                    by_bias += scale_helped * rows[(most + r) * features + m];
                }
            }
        }
    }
    by_bias = summed(worker, by_bias);
    if worker == 0u {
        gradients[(2u * dimensions + 1u) * features + m] = by_bias;
        gradients[2u * features * dimensions + m] = square + by_bias * by_bias;
        state[8u + m] = select(state[8u + m] + 1u, 0u, atomicLoad(&fired) != 0u);
    }
}
