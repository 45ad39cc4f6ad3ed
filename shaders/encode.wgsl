// First kernel of a training step: what every feature says of every row of the batch.
//
//   x        [rows, D]   rows in memory of the device
//   plan     see src/sae/resident.rs: sizes, the steps' pieces of the index, the index
//   state    [8 + M]     counters, thresholds, batches since each feature fired
//   encoder  [M, D]
//   pre      [B, M]      out: pre[r, m] = x[index[r]] · encoder[m]
//
// A workgroup computes 16 rows by 16 features; both operands pass through shared memory in pieces of 16. Every
// sum runs along D in one order.
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> plan: array<u32>;
@group(0) @binding(2) var<storage, read_write> state: array<u32>;
@group(0) @binding(3) var<storage, read_write> encoder: array<f32>;
@group(0) @binding(4) var<storage, read_write> pre: array<f32>;

// One column more than the tile, so that neighbours lie in different banks.
var<workgroup> of_rows: array<f32, 272>;
var<workgroup> of_features: array<f32, 272>;
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
    let row = group.y * 16u + down;
    let loaded_feature = group.x * 16u + down;
    let feature = group.x * 16u + across;
    var row_start = 0u;
    if row < count {
        row_start = plan[plan[10] + first + row] * dimensions;
    }
    var sum = 0.0;
    for (var start = 0u; start < dimensions; start += 16u) {
        let d = start + across;
        var value = 0.0;
        if row < count && d < dimensions {
            value = x[row_start + d];
        }
        of_rows[down * 17u + across] = value;
        value = 0.0;
        if loaded_feature < features && d < dimensions {
            value = encoder[loaded_feature * dimensions + d];
        }
        of_features[down * 17u + across] = value;
        workgroupBarrier();
        for (var k = 0u; k < 16u; k++) {
            sum += of_rows[down * 17u + k] * of_features[across * 17u + k];
        }
        workgroupBarrier();
    }
    if row < count && feature < features {
        pre[row * features + feature] = sum;
    }
}
