#version 330
// Formulas: shading.py. With LIGHT_VOLUME defined, light comes from the baked volume. Two programs instead of one
// with a branch: software drivers compute both sides of a branch, and the volume is a third of a frame.
uniform sampler2DArray textures;
uniform vec3 eye;
uniform float knee;
in vec3 from_eye;
in vec3 normal;
in vec2 uv;
flat in ivec2 ids;
layout(location = 0) out vec4 out_colour;
layout(location = 1) out float out_depth;
layout(location = 2) out int out_instance;

#ifdef LIGHT_VOLUME
uniform sampler3D light_positive;  // +x +y +z
uniform sampler3D light_negative;  // -x -y -z
uniform float volume_offset;
uniform vec3 volume_origin;
uniform vec3 volume_size;

float light(vec3 n) {
    vec3 at = (eye + from_eye + n * volume_offset - volume_origin) / volume_size;
    vec3 cube = mix(texture(light_negative, at).rgb, texture(light_positive, at).rgb, step(0.0, n));
    return dot(n * n, cube);
}
#else
uniform vec3 plain_light;  // ambient, hemisphere, headlight

float light(vec3 n) {
    return plain_light.x + plain_light.y * (0.5 + 0.5 * n.y) + plain_light.z * abs(dot(n, normalize(from_eye)));
}
#endif

void main() {
    vec3 n = normalize(gl_FrontFacing ? normal : -normal);
    vec3 colour = texture(textures, vec3(uv, ids.y)).rgb * light(n);
    float m = max(max(colour.r, colour.g), colour.b);
    if (m > knee) colour *= (knee + (1.0 - knee) * (1.0 - exp((knee - m) / (1.0 - knee)))) / m;
    out_colour = vec4(colour, 1.0);
    out_depth = 1.0 / gl_FragCoord.w;
    out_instance = ids.x;
}
