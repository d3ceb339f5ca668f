package lanyard

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

// RetryPolicy says how often, and how soon, a *read* that answered UNAVAILABLE is tried again. Writes never are: whether
// the server did it before the connection broke, nobody knows. The contract says what a read is (NO_SIDE_EFFECTS).
//
// It is gRPC's own policy: the wait doubles from InitialBackoff to MaxBackoff, with a fifth more or less by chance, and all
// calls of a client share a budget: each UNAVAILABLE costs a token of ten, each success gives back a tenth, and with half
// or less of them left nothing is tried again. A server that is down is thus not met with a multiple of the load that
// brought it down. A delay that the server asks for (it says so to gRPC, too, by `grpc-retry-pushback-ms`) takes the place of
// the next wait.
type RetryPolicy struct {
	// MaxAttempts is how many times a read is sent at most, the first one included; gRPC allows no more than 5.
	MaxAttempts int
	// InitialBackoff is the wait before the second attempt.
	InitialBackoff time.Duration
	// MaxBackoff is the longest wait.
	MaxBackoff time.Duration
}

// DefaultRetryPolicy is that of a client without [WithRetry].
var DefaultRetryPolicy = RetryPolicy{MaxAttempts: 4, InitialBackoff: 50 * time.Millisecond, MaxBackoff: time.Second}

// NeverRetry sends every call once.
var NeverRetry = RetryPolicy{MaxAttempts: 1}

// The shape of gRPC's service config (grpc/service_config.proto in JSON).
type (
	serviceConfig struct {
		LoadBalancing []map[string]struct{} `json:"loadBalancingConfig"`
		Methods       []methodConfig        `json:"methodConfig,omitempty"`
		Throttling    *retryThrottling      `json:"retryThrottling,omitempty"`
	}
	methodConfig struct {
		Names []methodName `json:"name"`
		Retry retryConfig  `json:"retryPolicy"`
	}
	methodName struct {
		Service string `json:"service"`
		Method  string `json:"method"`
	}
	retryConfig struct {
		MaxAttempts       int      `json:"maxAttempts"`
		InitialBackoff    string   `json:"initialBackoff"`
		MaxBackoff        string   `json:"maxBackoff"`
		BackoffMultiplier int      `json:"backoffMultiplier"`
		Codes             []string `json:"retryableStatusCodes"`
	}
	retryThrottling struct {
		MaxTokens  int     `json:"maxTokens"`
		TokenRatio float64 `json:"tokenRatio"`
	}
)

func (p RetryPolicy) serviceConfig() (string, error) {
	// Several replicas behind one name share the calls; where there is one, this is one connection.
	config := serviceConfig{LoadBalancing: []map[string]struct{}{{"round_robin": {}}}}
	if p.MaxAttempts > 1 {
		if p.InitialBackoff <= 0 || p.MaxBackoff <= 0 {
			return "", errors.New("lanyard: the backoffs of the retry policy must be longer than nothing")
		}
		config.Throttling = &retryThrottling{MaxTokens: 10, TokenRatio: 0.1}
		config.Methods = []methodConfig{{
			Names: readMethods(),
			Retry: retryConfig{
				MaxAttempts:       p.MaxAttempts,
				InitialBackoff:    seconds(p.InitialBackoff),
				MaxBackoff:        seconds(p.MaxBackoff),
				BackoffMultiplier: 2,
				Codes:             []string{"UNAVAILABLE"},
			},
		}}
	}
	text, err := json.Marshal(config)
	return string(text), err
}

func seconds(duration time.Duration) string {
	return fmt.Sprintf("%.9fs", duration.Seconds())
}

// readMethods lists the RPCs without side effects.
func readMethods() []methodName {
	var reads []methodName
	pkg := lanyardv1.File_lanyard_v1_session_proto.Package()
	protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(file protoreflect.FileDescriptor) bool {
		services := file.Services()
		for i := range services.Len() {
			reads = append(reads, readMethodsOf(services.Get(i))...)
		}
		return true
	})
	return reads
}

func readMethodsOf(service protoreflect.ServiceDescriptor) []methodName {
	var reads []methodName
	methods := service.Methods()
	for i := range methods.Len() {
		if method := methods.Get(i); isRead(method) {
			reads = append(reads, methodName{string(service.FullName()), string(method.Name())})
		}
	}
	return reads
}

func isRead(method protoreflect.MethodDescriptor) bool {
	options, _ := method.Options().(*descriptorpb.MethodOptions)
	return options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
}
