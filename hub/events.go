package hub

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	appsv1alpha1 "windlass.dev/windlass/api/apps/v1alpha1"
	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	windlassv1alpha1 "windlass.dev/windlass/api/windlass/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// newEvents makes the recorder of the hub's own events. The function that it returns ends it.
func newEvents(kube kubernetes.Interface) (record.EventRecorder, func(), error) {
	scheme, err := servedScheme()
	if err != nil {
		return nil, nil, err
	}
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: kube.CoreV1().Events("")})
	return broadcaster.NewRecorder(scheme, corev1.EventSource{Component: "windlass-hub"}), broadcaster.Shutdown, nil
}

// servedScheme knows the hub's own kinds in the version that is served only, so that an object
// without type information has one name.
func servedScheme() (*runtime.Scheme, error) {
	all, served := runtime.NewScheme(), runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		policyv1alpha1.AddToScheme, workv1alpha1.AddToScheme, clusterv1alpha1.AddToScheme, windlassv1alpha1.AddToScheme, appsv1alpha1.AddToScheme,
	} {
		if err := add(all); err != nil {
			return nil, err
		}
	}
	for _, version := range []schema.GroupVersion{
		policyv1alpha1.SchemeGroupVersion, workv1alpha1.SchemeGroupVersion, clusterv1alpha1.SchemeGroupVersion, windlassv1alpha1.SchemeGroupVersion, appsv1alpha1.SchemeGroupVersion,
	} {
		for kind := range all.KnownTypes(version) {
			example, err := all.New(version.WithKind(kind))
			if err != nil {
				return nil, err
			}
			served.AddKnownTypeWithName(version.WithKind(kind), example)
		}
	}
	return served, nil
}
