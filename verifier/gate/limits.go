package gate

// maxName is the length of a policy's name, in bytes: it is in a path, and the label of a metric.
const maxName = 64
