#include "include/CShims.h"

#include <sys/xattr.h>

int varve_has_access_list(const char *path) {
    return lgetxattr(path, "system.posix_acl_access", NULL, 0) > 0;
}
