#version 330
// Clearing an integer attachment is undefined in plain OpenGL, so "nothing there" is drawn.
uniform vec3 sky;
layout(location = 0) out vec4 out_colour;
layout(location = 1) out float out_depth;
layout(location = 2) out int out_instance;

void main() {
    out_colour = vec4(sky, 1.0);
    out_depth = 0.0;
    out_instance = 0;
}
