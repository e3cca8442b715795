// Package nodeimage builds an image for kind's nodes without a container registry: Debian's
// packages by mmdebstrap, what kind's Go module has for its own base image, the programs
// that e2e/cluster/programs and e2e/node/programs build, and the images of a control plane
// made of those. Networks of pods are ptp's, since kind's own plugin is no Go module.
package nodeimage
