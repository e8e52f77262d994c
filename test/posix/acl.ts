/** POSIX ACLs: who is let in, what chmod and the mask mean, what a new file inherits. 64001 is Ann, 64002 Bob; Carol is in Ann's group. */
import { access, as, chmod, chown, create, fails, getfacl, gives, has, list, listxattr, masked, mkdir, mknod, open, rename, setfacl, setxattr, symlink, touches, type Case } from './posix.js'

/** u::rwx,g::r-x,o::- as the kernel takes it: version 2, then (tag, permissions, id) each in 2, 2, 4 bytes. */
const minimal = '\x02\0\0\0' + '\x01\0\x07\0\xff\xff\xff\xff' + '\x04\0\x05\0\xff\xff\xff\xff' + '\x20\0\0\0\xff\xff\xff\xff'

export const aclCases: readonly Case[] = [
  { title: 'a named user is let in, within the mask', steps: [
    create('f', 0o640), setfacl('-m u:64002:rw', 'f'), gives('user::rw-,user:64002:rw-,group::r--,mask::rw-,other::---', getfacl('f')), has('f', { mode: 0o660 }),
    ...as('bob', access('f', 'rw'), fails('EACCES', access('f', 'x'))), ...as('ann', fails('EACCES', access('f', 'r'))), setfacl('-m m::r', 'f'), ...as('bob', access('f', 'r'), fails('EACCES', open('f', 'WRONLY')))] },
  { title: 'named groups count together; a user\'s own entry comes first', steps: [
    create('f', 0o600), setfacl('-m g:64001:r', 'f'), ...as('ann', access('f', 'r')), ...as('carol', access('f', 'r')), ...as('bob', fails('EACCES', access('f', 'r'))), setfacl('-m u:64003:-', 'f'), ...as('carol', fails('EACCES', access('f', 'r'))), ...as('ann', access('f', 'r'))] },
  { title: 'the owner\'s entry is the owner\'s, whatever else names her', steps: [create('f'), chown('f', 64001, 64001), chmod('f', 0o400), setfacl('-m u:64001:rw', 'f'), ...as('ann', fails('EACCES', access('f', 'w')), access('f', 'r'))] },
  { title: 'chmod moves the mask, not the group\'s entry', steps: [
    create('f', 0o664), setfacl('-m u:64002:rwx', 'f'), has('f', { mode: 0o674 }), chmod('f', 0o640), gives('user::rw-,user:64002:rwx,group::rw-,mask::r--,other::---', getfacl('f')), ...as('bob', access('f', 'r'), fails('EACCES', access('f', 'x')))] },
  { title: 'an ACL that says no more than the mode is the mode', steps: [create('f', 0o600), setfacl('-m g::rw', 'f'), has('f', { mode: 0o660 }), gives([], listxattr('f'))] },
  { title: 'removing an ACL leaves the mode', steps: [create('f', 0o640), setfacl('-m u:64002:rw', 'f'), gives(['system.posix_acl_access'], listxattr('f')), setfacl('-b', 'f'), gives([], listxattr('f')), ...as('bob', fails('EACCES', access('f', 'r')))] },
  { title: 'folders: search and write by a named user', steps: [
    mkdir('d', 0o700), create('d/f', 0o644), setfacl('-m u:64002:rx', 'd'), ...as('bob', access('d/f', 'r'), gives(['f'], list('d')), fails('EACCES', create('d/g'))), setfacl('-m u:64002:rwx', 'd'), ...as('bob', create('d/g'), rename('d/g', 'd/h'))] },
  { title: 'a default ACL is inherited, and the umask then is nothing', steps: [
    mkdir('d', 0o755), setfacl('-d -m u:64002:rwx,g::rx,o::-', 'd'), masked(0o077, create('d/f', 0o666)), gives('user::rw-,user:64002:rwx,group::r-x,mask::rw-,other::---', getfacl('d/f')), has('d/f', { mode: 0o660 }),
    masked(0o077, mkdir('d/e', 0o777)), gives('user::rwx,user:64002:rwx,group::r-x,mask::rwx,other::---,default:user::rwx,default:user:64002:rwx,default:group::r-x,default:mask::rwx,default:other::---', getfacl('d/e')),
    masked(0o077, mknod('d/p', 'fifo', 0o666)), has('d/p', { mode: 0o660 }), masked(0o022, create('d/e/g', 0o600)), gives('user::rw-,user:64002:rwx,group::r-x,mask::---,other::---', getfacl('d/e/g'))] },
  { title: 'a default ACL without names is inherited as a mode', steps: [mkdir('d', 0o755), setfacl('-d -m u::rwx,g::rwx,o::-', 'd'), masked(0o022, create('d/f', 0o666)), has('d/f', { mode: 0o660 }), gives([], listxattr('d/f'))] },
  { title: 'a default ACL is for folders', steps: [create('f'), fails('EACCES', setxattr('f', 'system.posix_acl_default', minimal))] },
  { title: 'no ACL on a symlink made in such a folder', steps: [mkdir('d', 0o755), setfacl('-d -m u:64002:rwx', 'd'), symlink('x', 'd/s'), has('d/s', { mode: 0o777 }), gives([], listxattr('d/s'))] },
  { title: 'who may set one', steps: [create('f'), chown('f', 64001, 64001), ...as('ann', setfacl('-m u:64002:r', 'f')), ...as('bob', fails('EPERM', setfacl('-m u:64002:rw', 'f')))] },
  { title: 'setting touches ctime', steps: [create('f'), ...touches({ f: 'ctime' }, setfacl('-m u:64002:r', 'f')), ...touches({ f: 'ctime' }, chmod('f', 0o600))] },
  { title: 'a foreign group\'s setgid goes with setting an ACL', steps: [create('f'), chown('f', 64001, 64002), chmod('f', 0o2755), ...as('ann', setfacl('-m u:64003:r', 'f')), has('f', { mode: 0o755 })] },
]
