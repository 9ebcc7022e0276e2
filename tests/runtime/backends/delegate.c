/* A real external delegate for LiteRT, as small as one can be: it takes the float dense layers of a graph and computes
 * them in plain C. The structures are the beginnings of those in TensorFlow Lite's C interface (common.h), declared
 * here because no package ships that header.
 *
 * Options: "factor" multiplies every result, so that a test sees who computed it; "take" = "nothing" leaves the whole
 * graph to the CPU; "absent" = "1" refuses to start, as the delegate of a device that is not plugged in.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, FAILED = 1, FULLY_CONNECTED = 9 };

typedef struct { int size; int data[]; } IntArray;
typedef struct { int type; void *data; IntArray *dims; } TensorHead; /* the rest of a tensor is skipped, see below */
typedef struct Context Context;
typedef struct Delegate Delegate;

typedef struct {
    IntArray *inputs, *outputs, *intermediates, *temporaries;
    void *user_data, *builtin_data;
} Node;

typedef struct {
    void *(*init)(Context *, const char *, size_t);
    void (*free)(Context *, void *);
    int (*prepare)(Context *, Node *);
    int (*invoke)(Context *, Node *);
    const char *(*profiling_string)(const Context *, const Node *);
    int32_t builtin_code;
    const char *custom_name;
    int version;
    void *registration_external, *async_kernel;
    uint64_t inplace_operator;
} Registration;

struct Context {
    size_t tensors_size;
    int (*get_execution_plan)(Context *, IntArray **);
    char *tensors;
    void *impl;
    int (*resize_tensor)(Context *, void *, IntArray *);
    void (*report_error)(Context *, const char *, ...);
    int (*add_tensors)(Context *, int, int *);
    int (*get_node_and_registration)(Context *, int, Node **, Registration **);
    int (*replace)(Context *, Registration, const IntArray *, Delegate *);
};

struct Delegate {
    float *data; /* the factor; negative: take nothing */
    int (*prepare)(Context *, Delegate *);
    void *copy_from, *copy_to, *free_handle;
    int64_t flags;
    void *builder;
};

typedef struct { Delegate *delegate; IntArray *nodes; } Params;
typedef struct { float factor; int layers; int (*tensors)[4]; } Kernel; /* input, weights, bias or -1, output */

/* type 0, data 8, dims 16, params 24, allocation type 32, bytes 40, allocation 48, name 56, delegate 64,
 * buffer handle 72 (with a flag), variable 77, quantization 80 (16 bytes), sparsity 96, dims signature 104. */
enum { TENSOR_BYTES = 112 };

static TensorHead *tensor(Context *context, int index) {
    return (TensorHead *)(context->tensors + (size_t)index * TENSOR_BYTES);
}

static void *init(Context *context, const char *buffer, size_t length) {
    const Params *params = (const Params *)buffer;
    Kernel *kernel = malloc(sizeof *kernel);
    (void)length;
    kernel->factor = *params->delegate->data;
    kernel->layers = params->nodes->size;
    kernel->tensors = malloc(sizeof(int[4]) * (size_t)kernel->layers);
    for (int i = 0; i < kernel->layers; i++) {
        Node *node;
        Registration *registration;
        context->get_node_and_registration(context, params->nodes->data[i], &node, &registration);
        kernel->tensors[i][0] = node->inputs->data[0];
        kernel->tensors[i][1] = node->inputs->data[1];
        kernel->tensors[i][2] = node->inputs->size > 2 ? node->inputs->data[2] : -1;
        kernel->tensors[i][3] = node->outputs->data[0];
    }
    return kernel;
}

static void release(Context *context, void *data) {
    (void)context;
    free(((Kernel *)data)->tensors);
    free(data);
}

static int ready(Context *context, Node *node) {
    (void)context;
    (void)node;
    return OK;
}

static int invoke(Context *context, Node *node) {
    const Kernel *kernel = node->user_data;
    for (int i = 0; i < kernel->layers; i++) {
        const int *at = kernel->tensors[i];
        const TensorHead *weights = tensor(context, at[1]);
        const float *x = tensor(context, at[0])->data, *w = weights->data;
        const float *bias = at[2] < 0 ? NULL : tensor(context, at[2])->data;
        float *y = tensor(context, at[3])->data;
        const int rows = weights->dims->data[0], columns = weights->dims->data[1];
        for (int row = 0; row < rows; row++) {
            float sum = bias ? bias[row] : 0.0f;
            for (int column = 0; column < columns; column++) sum += x[column] * w[row * columns + column];
            y[row] = kernel->factor * sum;
        }
    }
    return OK;
}

static int prepare(Context *context, Delegate *delegate) {
    IntArray *plan, *taken;
    if (*delegate->data < 0) return OK;
    if (context->get_execution_plan(context, &plan) != OK) return FAILED;
    taken = malloc(sizeof(IntArray) + sizeof(int) * (size_t)plan->size);
    taken->size = 0;
    for (int i = 0; i < plan->size; i++) {
        Node *node;
        Registration *registration;
        if (context->get_node_and_registration(context, plan->data[i], &node, &registration) != OK) return FAILED;
        if (registration->builtin_code == FULLY_CONNECTED) taken->data[taken->size++] = plan->data[i];
    }
    Registration registration = {init, release, ready, invoke, NULL, 0, "DenseDelegate", 1, NULL, NULL, 0};
    int status = context->replace(context, registration, taken, delegate);
    free(taken);
    return status;
}

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
    float factor = 1.0f;
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(keys[i], "factor")) factor = (float)atof(values[i]);
        if (!strcmp(keys[i], "take") && !strcmp(values[i], "nothing")) factor = -1.0f;
        if (!strcmp(keys[i], "absent")) {
            report("no such device is plugged in");
            return NULL;
        }
    }
    Delegate *delegate = calloc(1, sizeof *delegate);
    delegate->data = malloc(sizeof(float));
    *delegate->data = factor;
    delegate->prepare = prepare;
    return delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) {
    if (delegate == NULL) return; /* LiteRT calls it for one that refused to start, too */
    free(delegate->data);
    free(delegate);
}
