#include "include/CShims.h"
#include <sys/auxv.h>

const char *varve_executed_path(void) { return (const char *)getauxval(AT_EXECFN); }
