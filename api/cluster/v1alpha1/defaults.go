package v1alpha1

import "k8s.io/apimachinery/pkg/runtime"

func addDefaultingFuncs(scheme *runtime.Scheme) error {
	scheme.AddTypeDefaultingFunc(&MemberCluster{}, func(obj any) { defaultCluster(obj.(*MemberCluster)) })
	scheme.AddTypeDefaultingFunc(&MemberClusterList{}, func(obj any) {
		for i := range obj.(*MemberClusterList).Items {
			defaultCluster(&obj.(*MemberClusterList).Items[i])
		}
	})
	return nil
}

// defaultCluster moves the former single zone into zones, as Karmada does.
func defaultCluster(cluster *MemberCluster) {
	if cluster.Spec.SyncMode == "" {
		cluster.Spec.SyncMode = Pull
	}
	if cluster.Spec.Zone != "" && len(cluster.Spec.Zones) == 0 {
		cluster.Spec.Zones = []string{cluster.Spec.Zone}
		cluster.Spec.Zone = ""
	}
}
