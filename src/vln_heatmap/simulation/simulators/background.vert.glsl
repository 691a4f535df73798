#version 330
// One triangle that covers the screen at the far end of the depth range, clockwise like all front faces.
void main() {
    gl_Position = vec4(gl_VertexID == 2 ? 3.0 : -1.0, gl_VertexID == 1 ? 3.0 : -1.0, 1.0, 1.0);
}
