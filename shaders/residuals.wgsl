// Third kernel of a training step: what each row's reconstructions leave, and how the loss changes with every
// active feature. One workgroup a row.
//
//   x, plan, state   see encode.wgsl; `state` holds the thresholds
//   decoder          [M, D]
//   pre              [B, M]
//   planes           [B, P + 1, D]   out: v_b = Σ_{p ≥ b} s_p with s_p = x̂_p − x; the last plane is s_P plus what
//                                    dead features add
//   rows             out: slopes [B, M] (decoder[m] · v_block(m) where active, else 0), slopes of the dead [B, M],
//                    norms [B, 3]: Σ_p ‖s_p‖², ‖s_P‖², ‖last plane‖²
//
// Reconstructions of all prefixes come from one walk over the features. B is the largest batch.
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> plan: array<u32>;
@group(0) @binding(2) var<storage, read_write> state: array<u32>;
@group(0) @binding(3) var<storage, read_write> decoder: array<f32>;
@group(0) @binding(4) var<storage, read_write> pre: array<f32>;
@group(0) @binding(5) var<storage, read_write> planes: array<f32>;
@group(0) @binding(6) var<storage, read_write> rows: array<f32>;

const MAGNITUDE: u32 = 0x7fffffffu;

var<workgroup> parts: array<vec4<f32>, 256>;
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

    var norms = vec4<f32>(0.0);
    for (var d = worker; d < dimensions; d += 256u) {
        var rest = -x[row_start + d];
        var m = 0u;
        for (var p = 0u; p < prefixes; p++) {
            let end = plan[16u + p];
            for (; m < end; m++) {
                let value = pre[r * features + m];
                if (bitcast<u32>(value) & MAGNITUDE) >= threshold {
                    rest += value * decoder[m * dimensions + d];
                }
            }
            planes[plane_start + p * dimensions + d] = rest;
            norms.x += rest * rest;
        }
        norms.y += rest * rest;
        if helping {
            for (var m = 0u; m < features; m++) {
                let value = pre[r * features + m];
                if (bitcast<u32>(value) & MAGNITUDE) >= threshold_helped && state[8u + m] >= dead_after {
                    rest += value * decoder[m * dimensions + d];
                }
            }
            planes[plane_start + prefixes * dimensions + d] = rest;
            norms.z += rest * rest;
        }
        var sum = 0.0;
        for (var p = prefixes; p > 0u; p--) {
            sum += planes[plane_start + (p - 1u) * dimensions + d];
            planes[plane_start + (p - 1u) * dimensions + d] = sum;
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

    // Eight workers a feature.
    let lane = worker % 8u;
    for (var base = 0u; base < features; base += 32u) {
        let m = base + worker / 8u;
        var along = vec2<f32>(0.0);
        if m < features {
            let bits = bitcast<u32>(pre[r * features + m]) & MAGNITUDE;
            let is_active = bits >= threshold && bits != 0u;
            let is_helped = helping && bits >= threshold_helped && bits != 0u && state[8u + m] >= dead_after;
            if is_active || is_helped {
                var block = 0u;
                while m >= plan[16u + block] {
                    block++;
                }
                let own = plane_start + block * dimensions;
                let last = plane_start + prefixes * dimensions;
                for (var d = lane; d < dimensions; d += 8u) {
                    let weight = decoder[m * dimensions + d];
                    if is_active {
                        along.x += weight * planes[own + d];
                    }
                    if is_helped {
                        along.y += weight * planes[last + d];
                    }
                }
            }
        }
        parts[worker] = vec4<f32>(along, 0.0, 0.0);
        workgroupBarrier();
        if lane == 0u && m < features {
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
