/*
 * NVML, or else the CUDA driver, opened at run time: one binary runs with or without a GPU, and
 * builds without a CUDA toolkit. The few prototypes are declared here, after NVIDIA's documentation
 * of the NVML API and the CUDA driver API; both keep old symbols working.
 */
#include "agent/gpu.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 96

typedef int (*nvml_init_fn)(void);             /* nvmlInit_v2 */
typedef int (*nvml_shutdown_fn)(void);         /* nvmlShutdown */
typedef int (*nvml_count_fn)(unsigned *count); /* nvmlDeviceGetCount_v2 */
typedef int (*nvml_handle_fn)(unsigned index,
                              void **ret_device); /* nvmlDeviceGetHandleByIndex_v2 */
typedef int (*nvml_name_fn)(void *device, char *name, unsigned size); /* nvmlDeviceGetName */

typedef int (*cuda_init_fn)(unsigned flags);                   /* cuInit */
typedef int (*cuda_count_fn)(int *count);                      /* cuDeviceGetCount */
typedef int (*cuda_get_fn)(int *ret_device, int ordinal);      /* cuDeviceGet */
typedef int (*cuda_name_fn)(char *name, int size, int device); /* cuDeviceGetName */

/* dlsym() gives an object pointer; POSIX promises that its bytes are the function's. */
#define LOAD(library, variable, name)                                                              \
    do {                                                                                           \
        void *symbol_ = dlsym(library, name);                                                      \
        memcpy(&(variable), &symbol_, sizeof(symbol_));                                            \
    } while (0)

static bool ask_nvml(uint32_t *ret_count, char *ret_name)
{
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return false;
    nvml_init_fn init;
    nvml_shutdown_fn shut_down;
    nvml_count_fn get_count;
    nvml_handle_fn get_handle;
    nvml_name_fn get_name;
    LOAD(library, init, "nvmlInit_v2");
    LOAD(library, shut_down, "nvmlShutdown");
    LOAD(library, get_count, "nvmlDeviceGetCount_v2");
    LOAD(library, get_handle, "nvmlDeviceGetHandleByIndex_v2");
    LOAD(library, get_name, "nvmlDeviceGetName");
    bool found = false;
    if (init && shut_down && get_count && get_handle && get_name && init() == 0) {
        unsigned count = 0;
        void *device = NULL;
        found = get_count(&count) == 0 && count > 0 && get_handle(0, &device) == 0 &&
                get_name(device, ret_name, NAME_BYTES) == 0;
        *ret_count = count;
        shut_down();
    }
    dlclose(library);
    return found;
}

static bool ask_cuda(uint32_t *ret_count, char *ret_name)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return false;
    cuda_init_fn init;
    cuda_count_fn get_count;
    cuda_get_fn get_device;
    cuda_name_fn get_name;
    LOAD(library, init, "cuInit");
    LOAD(library, get_count, "cuDeviceGetCount");
    LOAD(library, get_device, "cuDeviceGet");
    LOAD(library, get_name, "cuDeviceGetName");
    int count = 0, device = 0;
    bool found = init && get_count && get_device && get_name && init(0) == 0 &&
                 get_count(&count) == 0 && count > 0 && get_device(&device, 0) == 0 &&
                 get_name(ret_name, NAME_BYTES, device) == 0;
    *ret_count = found ? (uint32_t)count : 0;
    return found; /* the driver's threads may live: the library stays */
}

void ag_gpu_model(const char *name, char ret[SCH_GPU_MODEL_MAX])
{
    static const char *const brands[] = {"NVIDIA ", "Tesla ", "Quadro ", "GeForce "};
    for (size_t i = 0; i < sizeof(brands) / sizeof(brands[0]); i++) {
        size_t length = strlen(brands[i]);
        if (strncmp(name, brands[i], length) == 0)
            name += length;
    }
    size_t length = strcspn(name, " -");
    if (strncmp(name, "RTX ", 4) == 0) /* "RTX 4090", "RTX 6000 Ada Generation" */
        length = 4 + strcspn(name + 4, " -");
    if (strncmp(name, "A100", length) == 0 && strstr(name, "80GB") != NULL) {
        name = "A100-80GB"; /* Flyte has a name of its own for it */
        length = strlen(name);
    }
    if (length >= SCH_GPU_MODEL_MAX)
        length = SCH_GPU_MODEL_MAX - 1;
    memset(ret, 0, SCH_GPU_MODEL_MAX);
    for (size_t i = 0; i < length; i++)
        ret[i] = name[i] == ' ' ? '-' : name[i];
}

void ag_gpus_find(struct ag_gpus *ret)
{
    memset(ret, 0, sizeof(*ret));
    char name[NAME_BYTES] = "";
    uint32_t count = 0;
    if (!ask_nvml(&count, name) && !ask_cuda(&count, name))
        return;
    ret->count = count < SCH_GPUS_MAX ? count : SCH_GPUS_MAX;
    ag_gpu_model(name, ret->model);
}
