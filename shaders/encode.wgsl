// First kernel of a training step: what every feature says of every row of the batch.
//
//   x        [rows, D]   rows in memory of the device
//   plan     see src/sae/resident.rs: sizes, the steps' pieces of the index, the index
//   state    [8 + M]     counters, thresholds, batches since each feature fired
//   encoder  [M, D], then the biases [M]
//   pre      [B, M]      out: pre[r, m] = x[index[r]] · encoder[m]; with ReLU (plan[11]) max(0, that + bias[m])
//
// A workgroup computes 32 rows by 32 features, two by two in each worker; both operands pass through shared memory in
// pieces of 32. Every sum runs along D in one order.
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> plan: array<u32>;
@group(0) @binding(2) var<storage, read_write> state: array<u32>;
@group(0) @binding(3) var<storage, read_write> encoder: array<f32>;
@group(0) @binding(4) var<storage, read_write> pre: array<f32>;

// One column more than the piece, so that neighbours lie in different banks.
const PIECE: u32 = 32u;
const PITCH: u32 = 33u;
var<workgroup> of_rows: array<f32, 1056>;
var<workgroup> of_features: array<f32, 1056>;
var<workgroup> width: u32;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) worker: u32) {
    if worker == 0u {
        width = plan[0];
    }
    let dimensions = workgroupUniformLoad(&width);
    let features = plan[1];
    let step = state[0];
    if group.x == 0u && group.y == 0u && worker == 0u {
        // The kernels after this one read the step here; the last one moves state[0] on.
        state[1] = step;
    }
    let first = plan[plan[9] + 4u * step];
    let count = plan[plan[9] + 4u * step + 1u];

    let down = worker / 16u;
    let across = worker % 16u;
    var sums = vec4<f32>(0.0);
    for (var start = 0u; start < dimensions; start += PIECE) {
        for (var i = worker; i < 32u * PIECE; i += 256u) {
            let at = i / PIECE;
            let d = start + i % PIECE;
            let row = group.y * 32u + at;
            var value = 0.0;
            if row < count && d < dimensions {
                value = x[plan[plan[10] + first + row] * dimensions + d];
            }
            of_rows[at * PITCH + i % PIECE] = value;
            let feature = group.x * 32u + at;
            value = 0.0;
            if feature < features && d < dimensions {
                value = encoder[feature * dimensions + d];
            }
            of_features[at * PITCH + i % PIECE] = value;
        }
        workgroupBarrier();
        for (var k = 0u; k < PIECE; k++) {
            let upper = of_rows[down * PITCH + k];
            let lower = of_rows[(down + 16u) * PITCH + k];
            let left = of_features[across * PITCH + k];
            let right = of_features[(across + 16u) * PITCH + k];
            sums += vec4<f32>(upper, upper, lower, lower) * vec4<f32>(left, right, left, right);
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        let row = group.y * 32u + down + 16u * (i / 2u);
        let feature = group.x * 32u + across + 16u * (i % 2u);
        if row < count && feature < features {
            var value = sums[i];
            if plan[11] != 0u {
                value += encoder[features * dimensions + feature];
                // Not `max`, which may hide what is not a number.
                if value < 0.0 {
                    value = 0.0;
                }
            }
            pre[row * features + feature] = value;
        }
    }
}
