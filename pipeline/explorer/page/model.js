// The model: encode, decode, swap, as vaegan/model/vae.py. An image is a Float32Array (C, H, W) in
// [0, 1]; a code is a Float32Array; the codes of an image are its posteriors' means.
"use strict";

/** Returns weights and bias of a layer by its name, the batch normalisation after it included. */
function layerOf(arrays, { name, norm, kind }) {
  const stored = arrays[`${name}.weight`];
  const weight = kind === "upsampling" ? outputsFirst(stored) : stored;
  const bias = arrays[`${name}.bias`]?.values ?? new Float32Array(weight.shape[0]);
  const part = (end) => arrays[`${norm}.${end}`]?.values;
  const known = {
    mean: part("running_mean"),
    variance: part("running_var"),
    scale: part("weight"),
    shift: part("bias"),
  };
  const layer = norm ? foldNorm({ weight, bias }, known) : { weight, bias };
  return kind === "upsampling" ? { phases: phasesOf(layer) } : layer;
}

class Model {
  /**
   * @param {Object} arrays from readArrays().
   * @param {Object} program which layers there are; pipeline/explorer/program.py writes it.
   */
  constructor(arrays, program) {
    const build = (layer) => ({ ...layer, ...layerOf(arrays, layer) });
    this.shape = program.image_shape;
    this.dims = program.dims; // of the specified and the unspecified code
    this.trunk = program.encoder.map(build);
    this.heads = program.heads.map(build);
    this.start = { ...build(program.decoder[0]), shape: program.decoder_shape };
    this.rest = program.decoder.slice(1).map(build);
    this.transport = program.transport
      ? new Transport(arrays, program.transport, this.dims[1])
      : null;
  }

  /** Returns [specified, unspecified]. */
  encode(image) {
    let features = { values: image, shape: this.shape };
    for (const layer of this.trunk) features = this.apply(features, layer);
    const codes = this.heads.map((head) => linear(features.values, head));
    return this.transport ? this.transport.separate(...codes) : codes;
  }

  decode(specified, unspecified) {
    const style = this.transport
      ? this.transport.restoreStyle(specified, unspecified)
      : unspecified;
    const code = new Float32Array(specified.length + style.length);
    code.set(specified);
    code.set(style, specified.length);
    let features = { values: linear(code, this.start), shape: this.start.shape };
    if (this.start.relu) relu(features.values);
    for (const layer of this.rest) features = this.apply(features, layer);
    return sigmoid(features.values);
  }

  /** Generates the identity of one image in the style of another. */
  swap(identity, style) {
    return this.decode(this.encode(identity)[0], this.encode(style)[1]);
  }

  apply(features, layer) {
    const out = layer.kind === "upsampling" ? upsample(features, layer) : convolve(features, layer);
    if (layer.relu) relu(out.values);
    return out;
  }
}
