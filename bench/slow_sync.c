/* A slower disk, for any program that syncs by fdatasync: preloaded, each one takes SYNC_DELAY_US microseconds more. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

int fdatasync(int file)
{
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int result = sync(file);
    usleep(atoi(getenv("SYNC_DELAY_US")));
    return result;
}
