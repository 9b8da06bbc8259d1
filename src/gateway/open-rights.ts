/** Who may open a file, and for what: as the server says, or as is known already. */
import type { Caller } from './callers.ts';
import type { Inode } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import { changesFile, mayChange, mayRead } from './open-file.ts';
import type { Errno } from './operations.ts';

const EACCES = 13;
const READ_FOR_ALL = 0o444;

export class OpenRights {
  readonly #knowledge: Knowledge;

  constructor(knowledge: Knowledge) {
    this.#knowledge = knowledge;
  }

  /**
   * Why a caller may not open a file, as the server says.
   *
   * @param ask true asks even where the answer is remembered
   */
  async refuse(inode: Inode, flags: number, caller: Caller, ask: boolean): Promise<Errno | undefined> {
    const rights = await this.#knowledge.rights(inode, caller, ask);
    if (typeof rights === 'object') return rights.errno;
    if (!mayRead(rights, flags)) return EACCES;
    return mayChange(rights, flags) ? undefined : this.#knowledge.refusalOfWriting(inode, caller);
  }

  /**
   * The same for a file that is in our hands. A grant says that its caller may read or execute. Which of them was checked by
   * the guest's kernel, unless it lets the caller past modes: then the server is asked, where the mode leaves it open.
   */
  async refuseHeld(inode: Inode, flags: number, caller: Caller): Promise<Errno | undefined> {
    const isChecked = !caller.passesModes || (inode.attributes.mode & READ_FOR_ALL) === READ_FOR_ALL;
    if (!changesFile(flags) && isChecked && inode.readers.has(caller.key)) return undefined;
    return this.refuse(inode, flags, caller, false);
  }
}
