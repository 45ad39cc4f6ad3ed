// The gate of batch top-k: a value passes when its magnitude reaches the batch's threshold.
//
//   values     [n]   any f32, read as bits
//   threshold  [1]   bits of a magnitude, from threshold.wgsl
//   info       [2]   n, keep (unused)
//   kept       [n]   out: the value where |value| >= threshold, else 0
//
// Bits are copied, never computed with, so what passes is untouched on every device.
@group(0) @binding(0) var<storage, read_write> values: array<u32>;
@group(0) @binding(1) var<storage, read_write> threshold: array<u32>;
@group(0) @binding(2) var<storage, read_write> info: array<u32>;
@group(0) @binding(3) var<storage, read_write> kept: array<u32>;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) worker: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + worker;
    if i >= info[0] {
        return;
    }
    let value = values[i];
    kept[i] = select(0u, value, (value & 0x7fffffffu) >= threshold[0]);
}
