// Last kernel of a training step: Adam on the clipped gradients, decoder rows back to norm one. A workgroup a feature.
//
//   plan, state, rows, gradients   see gradients.wgsl
//   encoder, decoder   [M, D], changed in place; behind the encoder the biases [M], which move with ReLU (plan[11])
//   moments            [M, 4, D]: first and second of the encoder, first and second of the decoder; then [M, 2] of the bias
//   losses             [steps]   out: the loss before this step
//
// The step's size and ε come from the plan: bias correction needs more digits than f32 has. Workgroup 0 also counts the dead and
// moves on to the next step.
@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> state: array<u32>;
@group(0) @binding(2) var<storage, read_write> rows: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradients: array<f32>;
@group(0) @binding(4) var<storage, read_write> encoder: array<f32>;
@group(0) @binding(5) var<storage, read_write> decoder: array<f32>;
@group(0) @binding(6) var<storage, read_write> moments: array<f32>;
@group(0) @binding(7) var<storage, read_write> losses: array<f32>;

var<workgroup> parts: array<vec4<f32>, 256>;

fn summed(worker: u32, value: vec4<f32>) -> vec4<f32> {
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
    let entry = plan[9] + 4u * step;
    let count = plan[entry + 1u];
    let rate = bitcast<f32>(plan[entry + 2u]);
    let epsilon = bitcast<f32>(plan[entry + 3u]);
    let m = group.x;

    var total = 0.0;
    for (var i = worker; i < features; i += 256u) {
        total += gradients[2u * features * dimensions + i];
    }
    let clip = 1.0 / max(sqrt(summed(worker, vec4<f32>(total, 0.0, 0.0, 0.0)).x), 1.0);

    var norm = 0.0;
    for (var d = worker; d < dimensions; d += 256u) {
        for (var which = 0u; which < 2u; which++) {
            let gradient = clip * gradients[(2u * m + which) * dimensions + d];
            let at = (4u * m + 2u * which) * dimensions + d;
            let first = 0.9 * moments[at] + 0.1 * gradient;
            let second = 0.999 * moments[at + dimensions] + 0.001 * (gradient * gradient);
            moments[at] = first;
            moments[at + dimensions] = second;
            let by = rate * first / (sqrt(second) + epsilon);
            if which == 0u {
                encoder[m * dimensions + d] -= by;
            } else {
                let weight = decoder[m * dimensions + d] - by;
                decoder[m * dimensions + d] = weight;
                norm += weight * weight;
            }
        }
    }
    let length = max(sqrt(summed(worker, vec4<f32>(norm, 0.0, 0.0, 0.0)).x), 1e-12);
    for (var d = worker; d < dimensions; d += 256u) {
        decoder[m * dimensions + d] /= length;
    }

    if worker == 0u && plan[11] != 0u {
        let gradient = clip * gradients[(2u * dimensions + 1u) * features + m];
        let at = 4u * features * dimensions + 2u * m;
        let first = 0.9 * moments[at] + 0.1 * gradient;
        let second = 0.999 * moments[at + 1u] + 0.001 * (gradient * gradient);
        moments[at] = first;
        moments[at + 1u] = second;
        encoder[features * dimensions + m] -= rate * first / (sqrt(second) + epsilon);
    }

    if m == 0u {
        var sums = vec4<f32>(0.0);
        for (var r = worker; r < count; r += 256u) {
            let at = 2u * plan[7] * features + 3u * r;
            sums += vec4<f32>(rows[at], rows[at + 1u], rows[at + 2u], 0.0);
        }
        var dead = 0.0;
        for (var i = worker; i < features; i += 256u) {
            if state[8u + i] >= plan[4] {
                dead += 1.0;
            }
        }
        sums = summed(worker, vec4<f32>(sums.xyz, dead));
        if worker == 0u {
            var loss = sums.x / (f32(count) * f32(plan[3]));
            if state[4] > 0u {
                loss += bitcast<f32>(plan[8]) * sums.z / max(sums.y, 1.1754944e-38);
            }
            losses[step] = loss;
            state[0] = select(step + 1u, 0u, step + 1u == plan[6]);
            state[5] += 1u;
            if state[5] % plan[5] == 0u {
                state[4] = u32(sums.w);
            }
        }
    }
}
