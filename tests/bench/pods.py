"""Pods as a cluster's API server has them: nearly five kilobytes each, of which an agent asks for little."""
import hashlib

FIELDS = {"controllers": ["f:generateName", "f:labels", "f:ownerReferences"], "kubelet": ["f:conditions", "f:containerStatuses",
          "f:hostIP", "f:phase", "f:podIP", "f:podIPs", "f:startTime"]}


def managed(manager, uid, names, at):
    return {"manager": manager, "operation": "Update", "apiVersion": "v1", "time": at, "fieldsType": "FieldsV1", "fieldsV1": {
        "f:metadata": {**{n: {} for n in names}, 'k:{"uid":"%s"}' % uid: {}},
        "f:spec": {"f:containers": {'k:{"name":"main"}': {n: {} for n in (
            ".", "f:env", "f:image", "f:imagePullPolicy", "f:livenessProbe", "f:name", "f:ports", "f:resources")}},
            "f:dnsPolicy": {}, "f:restartPolicy": {}, "f:schedulerName": {}}}}


def container(app, volume):
    return {
        "name": app, "image": "registry.local/team/%s:v1.2.3" % app,
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}, {"name": "metrics", "containerPort": 9090, "protocol": "TCP"}],
        "env": [{"name": "LOG_LEVEL", "value": "info"}, {"name": "QUOTED", "value": "a \"b\" \\ c\n"},
                {"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}],
        "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "50m", "memory": "64Mi"}},
        "volumeMounts": [{"name": volume, "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"}, "initialDelaySeconds": 5,
                          "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent"}


def tolerate(key):
    return {"key": "node.kubernetes.io/" + key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}


def pod(i, apps=200, spaces=50, nodes=100):
    digest = hashlib.sha256(str(i).encode()).hexdigest()
    app, space, ip = "app-%d" % (i % apps), "ns-%d" % (i % spaces), "10.%d.%d.%d" % (64 + i // 62500, i // 250 % 250, 1 + i % 250)
    uid = "-".join((digest[:8], digest[8:12], "4" + digest[13:16], "8" + digest[17:20], digest[20:32]))
    at, volume = "2026-03-%02dT10:%02d:00Z" % (1 + i % 28, i % 60), "kube-api-access-" + digest[:5]
    return {
        "metadata": {
            "name": "%s-%s-%s" % (app, digest[:10], digest[10:15]), "generateName": "%s-%s-" % (app, digest[:10]), "namespace": space,
            "uid": uid, "resourceVersion": str(1000000 + i), "creationTimestamp": at,
            "labels": {"app": app, "app.kubernetes.io/name": app, "app.kubernetes.io/instance": app + "-prod",
                       "pod-template-hash": digest[:10], "tier": ("web", "db", "cache")[i % 3], "version": "v1.%d" % (i % 10)},
            "annotations": {"cni.projectcalico.org/containerID": digest, "cni.projectcalico.org/podIP": ip + "/32",
                            "cni.projectcalico.org/podIPs": ip + "/32", "kubernetes.io/config.seen": at},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "%s-%s" % (app, digest[:10]), "uid": uid[::-1],
                                 "controller": True, "blockOwnerDeletion": True}],
            "managedFields": [managed(m, uid, names, at) for m, names in FIELDS.items()]},
        "spec": {
            "volumes": [{"name": volume, "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}]}}],
            "containers": [container(app, volume)], "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst", "serviceAccountName": "default", "serviceAccount": "default",
            "nodeName": "edge-node-%03d" % (i % nodes), "securityContext": {}, "schedulerName": "default-scheduler",
            "tolerations": [tolerate("not-ready"), tolerate("unreachable")], "priority": 0, "enableServiceLinks": True},
        "status": {
            "phase": "Running", "hostIP": "192.168.%d.%d" % (i % nodes // 250, 1 + i % nodes % 250), "podIP": ip, "podIPs": [{"ip": ip}],
            "startTime": at, "conditions": [{"type": c, "status": "True", "lastProbeTime": None, "lastTransitionTime": at}
                                            for c in ("Initialized", "Ready", "ContainersReady", "PodScheduled")],
            "containerStatuses": [{
                "name": app, "state": {"running": {"startedAt": at}}, "lastState": {}, "ready": True, "restartCount": 0, "started": True,
                "image": "registry.local/team/%s:v1.2.3" % app, "containerID": "containerd://" + digest,
                "imageID": "registry.local/team/%s@sha256:%s" % (app, digest[::-1])}], "qosClass": "Burstable"}}
