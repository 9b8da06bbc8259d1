/** RFC 1813 section 2.4 and this implementation's own bounds. */

/** Longest file handle, in bytes. */
export const NFS3_FHSIZE = 64;
export const NFS3_COOKIEVERFSIZE = 8;
export const NFS3_CREATEVERFSIZE = 8;
export const NFS3_WRITEVERFSIZE = 8;
/** Longest file name accepted, in bytes; local file systems allow 255. */
export const FILENAME_BYTES_MAX = 4096;
/** Longest path of a symbolic link, in bytes (PATH_MAX). */
export const NFS_PATH_BYTES_MAX = 4096;
/** Most bytes one READ or WRITE moves. */
export const TRANSFER_BYTES_MAX = 1024 * 1024;
/** Most entries accepted in one READDIR or READDIRPLUS reply; the record size bounds them earlier. */
export const DIRECTORY_ENTRIES_MAX = 65536;
/** RFC 1813 section 5: longest path in MOUNT and longest name in its lists, in bytes. */
export const MNTPATHLEN = 1024;
export const MNTNAMLEN = 255;
/** Most exports, groups and mounts accepted in one MOUNT reply. */
export const MOUNT_LIST_MAX = 4096;
/** Most authentication flavors in a MNT reply. */
export const MOUNT_FLAVORS_MAX = 32;
/** Most entries of one POSIX ACL in NFSACL (include/linux/nfsacl.h). */
export const NFS_ACL_ENTRIES_MAX = 1024;
