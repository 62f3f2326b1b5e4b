// Names the upstream end-to-end tests, so that go.sum holds what they need.
package cluster

import _ "k8s.io/kubernetes/test/e2e"
