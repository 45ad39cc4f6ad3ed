// Third kernel of a training step: what each row's reconstructions leave, and how the loss changes with every
// active feature. One workgroup a row.
//
//   x, plan, state   see encode.wgsl; `state` holds the thresholds
//   decoder          [M, D]
//   pre              [B, M]
//   planes           [B, P + 1, D]   out: s_p = x̂_p − x for every prefix p; the last plane is s_P plus what dead
//                                    features add
//   rows             out: slopes [B, M] (decoder[m] · Σ_{p ≥ block(m)} s_p where active, else 0), slopes of the dead [B, M],
//                    norms [B, 3]: Σ_p ‖s_p‖², ‖s_P‖², ‖last plane‖²
//
// Which features are active stands in a mask first, so that everything else walks over these alone, in order;
// reconstructions of all prefixes come from one such walk. M ≤ 4096. B is the largest batch.
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> plan: array<u32>;
@group(0) @binding(2) var<storage, read_write> state: array<u32>;
@group(0) @binding(3) var<storage, read_write> decoder: array<f32>;
@group(0) @binding(4) var<storage, read_write> pre: array<f32>;
@group(0) @binding(5) var<storage, read_write> planes: array<f32>;
@group(0) @binding(6) var<storage, read_write> rows: array<f32>;

const MAGNITUDE: u32 = 0x7fffffffu;

var<workgroup> parts: array<vec4<f32>, 256>;
// Bit m: feature m is active in this row; the same for dead features that help.
var<workgroup> active_ones: array<atomic<u32>, 128>;
var<workgroup> helping_ones: array<atomic<u32>, 128>;
var<workgroup> uniform_features: u32;
var<workgroup> uniform_count: u32;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) worker: u32) {
    let step = state[1];
    if worker == 0u {
        uniform_features = plan[1];
        uniform_count = plan[plan[9] + 4u * step + 1u];
    }
    let features = workgroupUniformLoad(&uniform_features);
    let count = workgroupUniformLoad(&uniform_count);
    let r = group.x;
    if r >= count {
        return;
    }
    let dimensions = plan[0];
    let prefixes = plan[3];
    let dead_after = plan[4];
    let most = plan[7];
    let threshold = state[2];
    let threshold_helped = state[3];
    let helping = state[4] > 0u;
    let row_start = plan[plan[10] + plan[plan[9] + 4u * step] + r] * dimensions;
    let plane_start = r * (prefixes + 1u) * dimensions;

    let words = (features + 31u) / 32u;
    if worker < 128u {
        atomicStore(&active_ones[worker], 0u);
        atomicStore(&helping_ones[worker], 0u);
    }
    workgroupBarrier();
    for (var m = worker; m < features; m += 256u) {
        let bits = bitcast<u32>(pre[r * features + m]) & MAGNITUDE;
        if bits >= threshold && bits != 0u {
            atomicOr(&active_ones[m / 32u], 1u << (m % 32u));
        }
        if helping && bits >= threshold_helped && bits != 0u && state[8u + m] >= dead_after {
            atomicOr(&helping_ones[m / 32u], 1u << (m % 32u));
        }
        rows[r * features + m] = 0.0;
        rows[(most + r) * features + m] = 0.0;
    }
    workgroupBarrier();

    var norms = vec4<f32>(0.0);
    for (var d = worker; d < dimensions; d += 256u) {
        var rest = -x[row_start + d];
        var p = 0u;
        for (var word = 0u; word < words; word++) {
            var ones = atomicLoad(&active_ones[word]);
            while ones != 0u {
                let m = 32u * word + firstTrailingBit(ones);
                ones &= ones - 1u;
                while m >= plan[16u + p] {
                    planes[plane_start + p * dimensions + d] = rest;
                    norms.x += rest * rest;
                    p++;
                }
                rest += pre[r * features + m] * decoder[m * dimensions + d];
            }
        }
        for (; p < prefixes; p++) {
            planes[plane_start + p * dimensions + d] = rest;
            norms.x += rest * rest;
        }
        norms.y += rest * rest;
        if helping {
            for (var word = 0u; word < words; word++) {
                var ones = atomicLoad(&helping_ones[word]);
                while ones != 0u {
                    let m = 32u * word + firstTrailingBit(ones);
                    ones &= ones - 1u;
                    rest += pre[r * features + m] * decoder[m * dimensions + d];
                }
            }
            planes[plane_start + prefixes * dimensions + d] = rest;
            norms.z += rest * rest;
        }
    }
    parts[worker] = norms;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if worker < half {
            parts[worker] += parts[worker + half];
        }
        workgroupBarrier();
    }
    if worker == 0u {
        let at = 2u * most * features + 3u * r;
        rows[at] = parts[0].x;
        rows[at + 1u] = parts[0].y;
        rows[at + 2u] = parts[0].z;
    }
    // The planes were written by all workers of this group and are read by all of them now.
    storageBarrier();
    workgroupBarrier();

    // Eight workers a feature, 32 active features at a time.
    let lane = worker % 8u;
    let own = worker / 8u;
    for (var word = 0u; word < words; word++) {
        let ones = atomicLoad(&active_ones[word]);
        let helpers = atomicLoad(&helping_ones[word]);
        let m = 32u * word + own;
        let is_active = ((ones >> own) & 1u) != 0u;
        let is_helped = ((helpers >> own) & 1u) != 0u;
        var along = vec2<f32>(0.0);
        if is_active || is_helped {
            var block = 0u;
            while m >= plan[16u + block] {
                block++;
            }
            let last = plane_start + prefixes * dimensions;
            for (var d = lane; d < dimensions; d += 8u) {
                let weight = decoder[m * dimensions + d];
                if is_active {
                    for (var plane = plane_start + block * dimensions; plane < last; plane += dimensions) {
                        along.x += weight * planes[plane + d];
                    }
                }
                if is_helped {
                    along.y += weight * planes[last + d];
                }
            }
        }
        parts[worker] = vec4<f32>(along, 0.0, 0.0);
        workgroupBarrier();
        if lane == 0u && (is_active || is_helped) {
            var sum = parts[worker].xy;
            for (var i = 1u; i < 8u; i++) {
                sum += parts[worker + i].xy;
            }
            rows[r * features + m] = sum.x;
            rows[(most + r) * features + m] = sum.y;
        }
        workgroupBarrier();
    }
}
