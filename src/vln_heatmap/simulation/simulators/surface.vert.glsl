#version 330
// Clip space is chosen so that row 0 of the framebuffer is the top row of the image: nothing is flipped later.
uniform mat4 world_to_clip;
uniform vec3 eye;
in vec3 in_position;
in vec3 in_normal;
in vec2 in_uv;
in ivec2 in_ids;  // instance, texture layer
out vec3 from_eye;
out vec3 normal;
out vec2 uv;
flat out ivec2 ids;

void main() {
    gl_Position = world_to_clip * vec4(in_position, 1.0);
    from_eye = in_position - eye;
    normal = in_normal;
    uv = in_uv;
    ids = in_ids;
}
