package apiserver

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
)

// terminatingPod is a Pod whose deletion waits for a kubelet.
type terminatingPod struct {
	types.NamespacedName
	uid types.UID
}

// podFinisher deletes Pods at once that somebody deletes with a grace period. A Pod that names a
// node is kept by the API server until that node's kubelet has stopped it; on the hub it is a
// template, no kubelet ever answers, and its namespace could never be deleted either.
func (s *Server) podFinisher(_ context.Context, _ *rest.Config, client kubernetes.Interface) (func(context.Context), error) {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[terminatingPod]())
	enqueue := func(object any) {
		if pod, ok := object.(*corev1.Pod); ok && waitsForKubelet(pod) {
			queue.Add(terminatingPod{types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}, pod.UID})
		}
	}
	informer := s.Informers.Core().V1().Pods().Informer()
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue, UpdateFunc: func(_, object any) { enqueue(object) },
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) {
		go func() {
			<-ctx.Done()
			_ = informer.RemoveEventHandler(registration)
			queue.ShutDown()
		}()
		for finishNext(ctx, queue, client) {
		}
	}, nil
}

func waitsForKubelet(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil && ptr.Deref(pod.DeletionGracePeriodSeconds, 0) > 0
}

// finishNext returns false when the queue is shut down.
func finishNext(ctx context.Context, queue workqueue.TypedRateLimitingInterface[terminatingPod], client kubernetes.Interface) bool {
	pod, shutdown := queue.Get()
	if shutdown {
		return false
	}
	defer queue.Done(pod)
	err := client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To[int64](0), Preconditions: &metav1.Preconditions{UID: &pod.uid},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && ctx.Err() == nil {
		utilruntime.HandleErrorWithContext(ctx, err, "deleting a Pod that waits for a kubelet", "pod", pod.NamespacedName)
		queue.AddRateLimited(pod)
		return true
	}
	queue.Forget(pod)
	return true
}
